//! Runs the program as cargo built it.
use std::process::Command;

#[test]
fn child_says_its_name() {
    let output = Command::new(env!("CARGO_BIN_EXE_app")).arg("child").output().unwrap();
    assert_eq!(output.stdout, b"child of Teacup\n");
}
