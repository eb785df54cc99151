// Package decimal contains exact decimal numbers, for money.
package decimal

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// digitsMax bounds what a text can make of memory and time.
const digitsMax = 100

// Decimal is an exact decimal number: 0.1 + 0.2 is 0.3, and 10.00 stays 10.00. Its zero value is 0.
//
// In JSON it is a number. It is read from a number or from a string with a number in it, digit by
// digit.
type Decimal struct {
	// The number is units / 10^places; nil stands for 0.
	units  *big.Int
	places int
}

// New returns so many tenths, hundredths …: New(1999, 2) is 19.99.
func New(units int64, places int) Decimal {
	if places < 0 || places > digitsMax {
		panic(fmt.Sprintf("decimal: %d places; 0 to %d are possible", places, digitsMax))
	}
	return Decimal{big.NewInt(units), places}
}

// Of returns an integer.
func Of(number int64) Decimal { return New(number, 0) }

// Parse reads a number such as 19.99, -3 or 1.5e3.
func Parse(text string) (Decimal, error) {
	mantissa, exponent := text, 0
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		number, err := strconv.Atoi(text[at+1:])
		if err != nil || number > digitsMax || number < -digitsMax {
			return Decimal{}, notDecimal(text)
		}
		mantissa, exponent = text[:at], number
	}
	whole, fraction, hasPoint := strings.Cut(mantissa, ".")
	digits := strings.TrimPrefix(whole, "-")
	if !isDigits(digits) || hasPoint && !isDigits(fraction) || len(digits)+len(fraction) > digitsMax {
		return Decimal{}, notDecimal(text)
	}
	units, _ := new(big.Int).SetString(whole+fraction, 10)
	places := len(fraction) - exponent
	if places < 0 {
		units.Mul(units, power(-places))
		places = 0
	}
	if places > digitsMax {
		return Decimal{}, notDecimal(text)
	}
	return Decimal{units, places}, nil
}

// MustParse is Parse for constants: it panics where Parse returns an error.
func MustParse(text string) Decimal {
	number, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return number
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

func notDecimal(text string) error {
	if len(text) > 50 {
		text = text[:50]
	}
	return fmt.Errorf("`%s` is no decimal number of up to %d digits", text, digitsMax)
}

func power(places int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)
}

func (d Decimal) integer() *big.Int {
	if d.units == nil {
		return new(big.Int)
	}
	return d.units
}

// with returns the units of a number that has so many places.
func (d Decimal) with(places int) *big.Int {
	return new(big.Int).Mul(d.integer(), power(places-d.places))
}

func aligned(a, b Decimal) (*big.Int, *big.Int, int) {
	places := max(a.places, b.places)
	return a.with(places), b.with(places), places
}

// Add returns d + other.
func (d Decimal) Add(other Decimal) Decimal {
	a, b, places := aligned(d, other)
	return Decimal{a.Add(a, b), places}
}

// Sub returns d - other.
func (d Decimal) Sub(other Decimal) Decimal { return d.Add(other.Neg()) }

// Neg returns -d.
func (d Decimal) Neg() Decimal { return Decimal{new(big.Int).Neg(d.integer()), d.places} }

// Mul returns d * other, with the places of both.
func (d Decimal) Mul(other Decimal) Decimal {
	return Decimal{new(big.Int).Mul(d.integer(), other.integer()), d.places + other.places}
}

// Div returns d / other, rounded to so many places as Round does. It panics if other is zero.
func (d Decimal) Div(other Decimal, places int) Decimal {
	numerator := new(big.Int).Mul(d.integer(), power(places+other.places))
	denominator := new(big.Int).Mul(other.integer(), power(d.places))
	return Decimal{quotient(numerator, denominator), places}
}

// Round returns the number with so many places; a half goes to the even neighbour.
func (d Decimal) Round(places int) Decimal {
	if places >= d.places {
		return Decimal{d.with(places), places}
	}
	return Decimal{quotient(d.integer(), power(d.places-places)), places}
}

func quotient(numerator, denominator *big.Int) *big.Int {
	whole, rest := new(big.Int).QuoRem(numerator, denominator, new(big.Int))
	half := new(big.Int).Abs(rest)
	comparison := half.Lsh(half, 1).CmpAbs(denominator)
	if comparison > 0 || comparison == 0 && whole.Bit(0) == 1 {
		whole.Add(whole, big.NewInt(int64(numerator.Sign()*denominator.Sign())))
	}
	return whole
}

// Cmp returns -1, 0 or 1 if d is less than, equal to or greater than other: 10.00 equals 10.
func (d Decimal) Cmp(other Decimal) int {
	a, b, _ := aligned(d, other)
	return a.Cmp(b)
}

// Equal says whether both are the same number.
func (d Decimal) Equal(other Decimal) bool { return d.Cmp(other) == 0 }

// Sign returns -1, 0 or 1.
func (d Decimal) Sign() int { return d.integer().Sign() }

// String writes the number with all its places.
func (d Decimal) String() string {
	digits := new(big.Int).Abs(d.integer()).String()
	if missing := d.places + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	if d.places > 0 {
		at := len(digits) - d.places
		digits = digits[:at] + "." + digits[at:]
	}
	if d.Sign() < 0 {
		digits = "-" + digits
	}
	return digits
}

// MarshalJSON writes the number.
func (d Decimal) MarshalJSON() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalJSON reads a number, or a string with a number in it.
func (d *Decimal) UnmarshalJSON(data []byte) (err error) {
	*d, err = Parse(strings.Trim(string(data), `"`))
	return err
}

// JSONSchema describes the number.
func (Decimal) JSONSchema(isWritten bool) string {
	if isWritten {
		return `{"type":"number"}`
	}
	return `{"type":["number","string"]}`
}
