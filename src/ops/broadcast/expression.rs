//! What an element-wise kernel computes: a text of WGSL, of units or of single elements.

use crate::kernel::Kernel;
use crate::tensor::ElementType;

/// An expression that element-wise kernels paste.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    text: String,
    /// 0 of units, 1 of elements as they are stored, 2 of elements as 64-bit integers.
    scalar: i64,
    unsigned: bool,
}

impl From<&str> for Expression {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), scalar: 0, unsigned: false }
    }
}

impl From<String> for Expression {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl Expression {
    /// Of single elements as they are stored (pairs of words for 64 bits). `element_type` says whether the functions of
    /// `common/wide` see a sign.
    pub fn of_elements(text: impl Into<String>, element_type: ElementType) -> Self {
        Self { text: text.into(), scalar: 1, unsigned: is_unsigned(element_type) }
    }

    /// Of single elements as 64-bit integers, which those of this type become first. The text gives such a number, which
    /// is cut to the output's bits; or a truth value (`test`) as it is stored.
    pub fn of_integers(text: &str, element_type: ElementType, test: bool) -> Self {
        let text = if test { text.to_owned() } else { format!("narrow_y({text})") };
        Self { text, scalar: 2, unsigned: is_unsigned(element_type) }
    }

    /// The kernel that computes it.
    pub fn specialize(&self, kernel: Kernel) -> Kernel {
        let kernel = kernel.paste("EXPRESSION", self.text.as_str());
        match (self.scalar, self.unsigned) {
            (0, _) => kernel,
            (scalar, false) => kernel.define("SCALAR", scalar),
            (scalar, true) => kernel.define("SCALAR", scalar).define("UNSIGNED", 1),
        }
    }
}

/// Whether kernels compute with integers of this type as with pairs of words.
pub fn is_wide(element_type: ElementType) -> bool {
    matches!(element_type, ElementType::I64 | ElementType::U64 | ElementType::U32)
}

fn is_unsigned(element_type: ElementType) -> bool {
    matches!(element_type, ElementType::U64 | ElementType::U32)
}
