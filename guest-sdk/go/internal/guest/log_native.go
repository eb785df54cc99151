//go:build !wasip1

package guest

import (
	"fmt"
	"os"
)

// Log writes a line to the output of a test or a program.
func Log(level Level, text string) {
	fmt.Fprintf(os.Stderr, "%s %s\n", [...]string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR"}[level], text)
}
