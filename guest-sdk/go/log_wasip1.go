package sagabox

import (
	"context"
	"log/slog"
	"strings"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
)

// The packages log and log/slog write to the host's log, with the level and without a time, which
// the host adds.
func init() {
	slog.SetDefault(slog.New(&logHandler{}))
}

type logHandler struct {
	attributes string
	group      string
}

func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *logHandler) Handle(_ context.Context, record slog.Record) error {
	var text strings.Builder
	text.WriteString(record.Message)
	text.WriteString(h.attributes)
	record.Attrs(func(attribute slog.Attr) bool {
		h.write(&text, attribute)
		return true
	})
	guest.Log(levelOf(record.Level), strings.TrimSuffix(text.String(), "\n"))
	return nil
}

func (h *logHandler) write(text *strings.Builder, attribute slog.Attr) {
	text.WriteString(" " + h.group + attribute.Key + "=" + attribute.Value.String())
}

func (h *logHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	var text strings.Builder
	text.WriteString(h.attributes)
	for _, attribute := range attributes {
		h.write(&text, attribute)
	}
	return &logHandler{attributes: text.String(), group: h.group}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{attributes: h.attributes, group: h.group + name + "."}
}

func levelOf(level slog.Level) guest.Level {
	switch {
	case level < slog.LevelDebug:
		return guest.Trace
	case level < slog.LevelInfo:
		return guest.Debug
	case level < slog.LevelWarn:
		return guest.Info
	case level < slog.LevelError:
		return guest.Warn
	}
	return guest.Error
}
