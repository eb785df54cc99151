package sagabox

import (
	"log"
	"strings"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
)

// The package log writes to the host's log, which adds the time. So does log/slog, which writes
// through the package log; an import of it would make every plugin 1 MB larger.
func init() {
	log.SetFlags(0)
	log.SetOutput(hostLog{})
}

type hostLog struct{}

func (hostLog) Write(line []byte) (int, error) {
	level, text := levelOf(strings.TrimSuffix(string(line), "\n"))
	guest.Log(level, text)
	return len(line), nil
}
