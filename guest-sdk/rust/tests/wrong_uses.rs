//! What the compiler says of wrong uses that only it can find. Those that the macros find
//! themselves are tested in `macros`.

#[test]
fn wrong_uses_do_not_compile_and_say_what_is_right() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
