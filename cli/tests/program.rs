//! The program that `rimlight try` ends with, compiled: this file includes the one for the embedded model.

use rimlight_cli::known;
use rimlight_cli::program::program;

#[expect(dead_code, reason = "it is compiled, and compared below; nothing runs it")]
#[path = "generated/digits.rs"]
mod digits;

#[test]
fn the_generated_program_is_the_one_that_compiles() {
    let (model, _) = known::open("digits", &rimlight::Limits::default()).unwrap();
    let tensor = rimlight::Tensor::zeros(rimlight::ElementType::F32, [1, 1, 28, 28]).unwrap();
    let generated = program(&model, "digits.onnx", &[("image".to_owned(), tensor)]);
    assert_eq!(generated, include_str!("generated/digits.rs"), "update cli/tests/generated/digits.rs:\n{generated}");
}
