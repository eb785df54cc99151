package codec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// depthMax is how many arrays and objects may be within each other.
const depthMax = 10_000

// decoder is a place in a JSON text.
type decoder struct {
	data    []byte
	at      int
	depth   int
	options Options
}

// whole reads one value, behind which nothing may follow.
func (d *decoder) whole(read func() error) error {
	if err := read(); err != nil {
		return err
	}
	if d.peek(); d.at < len(d.data) {
		return d.syntax("the end")
	}
	return nil
}

func (d *decoder) deeper() error {
	d.depth++
	if d.depth > depthMax {
		return wrong("has more than %d arrays and objects within each other", depthMax)
	}
	return nil
}

// peek returns the next byte that is no white space, or 0 at the end.
func (d *decoder) peek() byte {
	for d.at < len(d.data) {
		switch c := d.data[d.at]; c {
		case ' ', '\t', '\r', '\n':
			d.at++
		default:
			return c
		}
	}
	return 0
}

// begin returns the place where the next value begins.
func (d *decoder) begin() int {
	d.peek()
	return d.at
}

func (d *decoder) byte(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.at++
	return true
}

func (d *decoder) word(word string) bool {
	d.peek()
	end := d.at + len(word)
	if end > len(d.data) || string(d.data[d.at:end]) != word {
		return false
	}
	d.at = end
	return true
}

func (d *decoder) null() bool { return d.word("null") }

// expected says that the value is of another kind.
func (d *decoder) expected(what string) error {
	found := ""
	switch c := d.peek(); {
	case c == '"':
		found = "a string"
	case c == '{':
		found = "an object"
	case c == '[':
		found = "an array"
	case c == 't', c == 'f':
		found = "true or false"
	case c == 'n':
		found = "null"
	case c == '-' || '0' <= c && c <= '9':
		found = "a number"
	default:
		return d.syntax("a value")
	}
	return wrong("is %s; expected %s", found, what)
}

// syntax says that the text is no JSON.
func (d *decoder) syntax(what string) error {
	if d.at >= len(d.data) {
		return wrong("is no JSON: it ends where %s is expected", what)
	}
	return wrong("is no JSON: byte %d is %q where %s is expected", d.at, d.data[d.at], what)
}

// number reads a number as it is written.
func (d *decoder) number() ([]byte, error) {
	start := d.begin()
	rest := d.data[start:]
	length := numberLength(rest)
	if length == 0 {
		if c := d.peek(); c == '-' || '0' <= c && c <= '9' {
			return nil, d.syntax("a number")
		}
		return nil, d.expected("a number")
	}
	d.at += length
	return rest[:length], nil
}

func numberLength(text []byte) int {
	at := 0
	if at < len(text) && text[at] == '-' {
		at++
	}
	digits := countDigits(text[at:])
	if digits == 0 || digits > 1 && text[at] == '0' {
		return 0
	}
	at += digits
	if at < len(text) && text[at] == '.' {
		fraction := countDigits(text[at+1:])
		if fraction == 0 {
			return 0
		}
		at += 1 + fraction
	}
	if at < len(text) && (text[at] == 'e' || text[at] == 'E') {
		sign := 0
		if at+1 < len(text) && (text[at+1] == '+' || text[at+1] == '-') {
			sign = 1
		}
		exponent := countDigits(text[min(at+1+sign, len(text)):])
		if exponent == 0 {
			return 0
		}
		at += 1 + sign + exponent
	}
	return at
}

func countDigits(text []byte) int {
	count := 0
	for count < len(text) && '0' <= text[count] && text[count] <= '9' {
		count++
	}
	return count
}

// text reads a string.
func (d *decoder) text() (string, error) {
	if !d.byte('"') {
		return "", d.expected("a string")
	}
	start, isAscii := d.at, true
	for ; d.at < len(d.data); d.at++ {
		switch c := d.data[d.at]; {
		case c == '"':
			raw := d.data[start:d.at]
			d.at++
			if !isAscii && !utf8.Valid(raw) {
				return "", wrong("is not valid UTF-8")
			}
			return string(raw), nil
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return "", d.syntax("a character of a string")
		case c >= utf8.RuneSelf:
			isAscii = false
		}
	}
	return "", d.syntax("the end of a string")
}

// escaped reads the rest of a string that has escapes.
func (d *decoder) escaped(start int) (string, error) {
	out := append([]byte(nil), d.data[start:d.at]...)
	for d.at < len(d.data) {
		c := d.data[d.at]
		switch {
		case c == '"':
			d.at++
			if !utf8.Valid(out) {
				return "", wrong("is not valid UTF-8")
			}
			return string(out), nil
		case c == '\\':
			character, err := d.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, character)
		case c < ' ':
			return "", d.syntax("a character of a string")
		default:
			out = append(out, c)
			d.at++
		}
	}
	return "", d.syntax("the end of a string")
}

func (d *decoder) escape() (rune, error) {
	if d.at+1 >= len(d.data) {
		d.at = len(d.data)
		return 0, d.syntax("the end of a string")
	}
	c := d.data[d.at+1]
	if c != 'u' {
		for i, name := range []byte(`"\/bfnrt`) {
			if c == name {
				d.at += 2
				return rune("\"\\/\b\f\n\r\t"[i]), nil
			}
		}
		return 0, d.syntax("an escape")
	}
	first, err := d.unit()
	if err != nil {
		return 0, err
	}
	if !utf16.IsSurrogate(first) {
		return first, nil
	}
	if d.at+1 < len(d.data) && d.data[d.at] == '\\' && d.data[d.at+1] == 'u' {
		second, err := d.unit()
		if err != nil {
			return 0, err
		}
		if whole := utf16.DecodeRune(first, second); whole != utf8.RuneError {
			return whole, nil
		}
	}
	return 0, wrong("has half of a surrogate pair, which is no character; a field of the type JSON keeps it")
}

// unit reads one \uXXXX.
func (d *decoder) unit() (rune, error) {
	end := d.at + 6
	if end > len(d.data) {
		d.at = len(d.data)
		return 0, d.syntax("the end of a string")
	}
	number, err := strconv.ParseUint(string(d.data[d.at+2:end]), 16, 16)
	if err != nil {
		return 0, d.syntax("an escape")
	}
	d.at = end
	return rune(number), nil
}

// skip reads a value, and keeps nothing of it.
func (d *decoder) skip() error {
	switch d.peek() {
	case '"':
		return d.skipText()
	case '[':
		return d.list(func(int) error { return d.skip() })
	case '{':
		return d.members(func(string) error { return d.skip() })
	case 't', 'f', 'n':
		if d.word("true") || d.word("false") || d.word("null") {
			return nil
		}
		return d.syntax("a value")
	default:
		_, err := d.number()
		return err
	}
}

// skipText accepts what is a string to JSON, also half of a surrogate pair.
func (d *decoder) skipText() error {
	for d.at++; d.at < len(d.data); d.at++ {
		switch c := d.data[d.at]; {
		case c == '"':
			d.at++
			return nil
		case c < ' ':
			return d.syntax("a character of a string")
		case c == '\\':
			d.at++
		}
	}
	return d.syntax("the end of a string")
}

var errFound = errors.New("found")

func pointerNames(pointer string) []string {
	if pointer == "" {
		return nil
	}
	names := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, name := range names {
		names[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
	}
	return names
}

// Pointer returns the value at a JSON Pointer, as text; nil if there is none.
func Pointer(data []byte, pointer string) ([]byte, error) {
	d := decoder{data: data}
	for _, name := range pointerNames(pointer) {
		isFound := false
		step := func(found string) error {
			if isFound || found != name {
				return d.skip()
			}
			isFound = true
			return errFound
		}
		var err error
		switch d.peek() {
		case '{':
			err = d.members(step)
		case '[':
			err = d.list(func(i int) error { return step(fmt.Sprint(i)) })
		}
		if !isFound {
			return nil, err
		}
	}
	start := d.begin()
	if err := d.skip(); err != nil {
		return nil, err
	}
	return data[start:d.at], nil
}
