package sagabox

import (
	"context"
	"fmt"
	"strings"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
)

// Level says how urgent a line of the log is.
type Level = guest.Level

// The levels of the host's log.
const (
	LevelTrace = guest.Trace
	LevelDebug = guest.Debug
	LevelInfo  = guest.Info
	LevelWarn  = guest.Warn
	LevelError = guest.Error
)

// Log writes a line to the host's log, which adds the plugin, the key and the event. The packages
// log (at the level info) and log/slog, fmt.Println (info), and what is written to os.Stderr (warn)
// reach it as well.
func Log(_ context.Context, level Level, format string, values ...any) {
	guest.Log(level, fmt.Sprintf(format, values...))
}

// levelOf takes the level from the beginning of a line that log/slog has written.
func levelOf(line string) (Level, string) {
	for _, known := range []struct {
		name  string
		level Level
	}{{"DEBUG", LevelDebug}, {"INFO", LevelInfo}, {"WARN", LevelWarn}, {"ERROR", LevelError}} {
		if text, isThere := strings.CutPrefix(line, known.name+" "); isThere {
			return known.level, text
		}
	}
	return LevelInfo, line
}
