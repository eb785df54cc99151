package decimal

import "testing"

func TestWhatIsReadIsWrittenDigitByDigit(t *testing.T) {
	for _, text := range []string{"10.00", "0.1", "-0.30", "0", "0.001", "12345678901234567890123456789.10"} {
		number, err := Parse(text)
		if err != nil || number.String() != text {
			t.Errorf("%s: %s %v", text, number, err)
		}
	}
	for text, expected := range map[string]string{"1.5e3": "1500", "15e-4": "0.0015", "1E2": "100"} {
		if number := MustParse(text); number.String() != expected {
			t.Errorf("%s: %s", text, number)
		}
	}
}

func TestWhatIsNoNumberIsAnError(t *testing.T) {
	for _, text := range []string{"", "ten", "1.", ".5", "--1", "1e999", "1e", "+1", "0x1", "1_0", "-"} {
		if number, err := Parse(text); err == nil {
			t.Errorf("%s: %s", text, number)
		}
	}
}

func TestArithmeticIsExact(t *testing.T) {
	price, fee := MustParse("0.1"), MustParse("0.20")
	for expected, number := range map[string]Decimal{
		"0.30":  price.Add(fee),
		"-0.10": price.Sub(fee),
		"0.020": price.Mul(fee),
		"3.33":  Of(10).Div(Of(3), 2),
		"-0.67": Of(-2).Div(Of(3), 2),
		"0":     Decimal{},
		"1.10":  Decimal{}.Add(New(110, 2)),
	} {
		if number.String() != expected {
			t.Errorf("%s, not %s", number, expected)
		}
	}
	if !MustParse("10.00").Equal(Of(10)) || Of(1).Cmp(Of(2)) != -1 {
		t.Error("10.00 is 10, and 1 is less than 2")
	}
}

func TestAHalfIsRoundedToTheEvenNeighbour(t *testing.T) {
	for text, expected := range map[string]string{
		"2.345": "2.34", "2.355": "2.36", "-2.345": "-2.34", "2.3451": "2.35", "2": "2.00", "0.005": "0.00",
	} {
		if number := MustParse(text).Round(2); number.String() != expected {
			t.Errorf("%s: %s, not %s", text, number, expected)
		}
	}
}

func TestItIsANumberInJSON(t *testing.T) {
	var number Decimal
	for _, text := range []string{"10.00", `"10.00"`} {
		if err := number.UnmarshalJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if written, _ := number.MarshalJSON(); string(written) != "10.00" {
			t.Errorf("%s", written)
		}
	}
	if number.UnmarshalJSON([]byte("true")) == nil {
		t.Error("true is no number")
	}
}
