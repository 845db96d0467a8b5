//! What `#[kernel]` refuses and with which words (`ui/*.rs`, `ui/*.stderr`), and what has to compile
//! without a warning and run (`ui/pass/*.rs`). After a change of words run with
//! `TRYBUILD=overwrite` and read the difference.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
