// The function main has no body in Go; an assembler file allows that.
