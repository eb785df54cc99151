package sagabox

import "testing"

func TestTheLevelOfALineOfSlogIsTaken(t *testing.T) {
	for line, expected := range map[string]Level{
		"INFO paid": LevelInfo, "WARN late": LevelWarn, "DEBUG x": LevelDebug, "ERROR y": LevelError, "INFORMATION": LevelInfo, "plain": LevelInfo,
	} {
		if level, _ := levelOf(line); level != expected {
			t.Errorf("%s: %d", line, level)
		}
	}
	if _, text := levelOf("WARN it is late"); text != "it is late" {
		t.Error(text)
	}
}

func TestATimerIsNamedAsItsType(t *testing.T) {
	type PaymentDeadline struct{}
	if name, data, err := timerOf(PaymentDeadline{}); name != "payment-deadline" || data != nil || err != nil {
		t.Error(name, data, err)
	}
}
