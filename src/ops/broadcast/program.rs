//! Arithmetic as a short program, which the kernel reads as parameters: one pipeline serves every formula.

use crate::kernel::{Dispatch, Kernel};

/// The most steps of a program.
pub const STEPS: usize = 8;

/// Units of a tensor for which a program of one step has a pipeline of its own.
const LARGE: usize = 1 << 16;

const NUMBERS: [&str; STEPS] = ["number0", "number1", "number2", "number3", "number4", "number5", "number6", "number7"];

/// What a step does with the value so far, `v`, and another, `b`. Numbered as in `shaders/elementwise/arithmetic.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// v + b
    Add = 0,
    /// v − b
    Sub = 1,
    /// v · b
    Mul = 2,
    /// v / b
    Div = 3,
    /// The smaller.
    Min = 4,
    /// The larger.
    Max = 5,
    /// √v
    Sqrt = 6,
}

/// What a step's other value is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum With {
    /// A number.
    Number(f32),
    /// An operand of the kernel, not the first.
    Operand(usize),
    /// The value so far.
    Itself,
}

/// One step: the value so far becomes `v ∘ b`, or `b ∘ v` if they are swapped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// What it does.
    pub operation: Operation,
    /// With what.
    pub with: With,
    /// Whether the value so far is the second operand.
    pub swapped: bool,
}

/// The steps from the first operand to the result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    /// At most [`STEPS`].
    pub steps: Vec<Step>,
}

impl Program {
    /// One step with the second operand.
    pub fn of(operation: Operation) -> Self {
        Self { steps: vec![Step { operation, with: With::Operand(1), swapped: false }] }
    }

    /// The same with one more step.
    #[must_use]
    pub fn then(mut self, operation: Operation, with: With, swapped: bool) -> Self {
        self.steps.push(Step { operation, with, swapped });
        self
    }

    /// The same with its result bounded.
    #[must_use]
    pub fn then_bound(self, low: f32, high: f32) -> Self {
        self.then(Operation::Max, With::Number(low), false).then(Operation::Min, With::Number(high), false)
    }

    /// The same with a number in the place of operand `index`, those behind it counted anew.
    #[must_use]
    pub fn with_number(mut self, index: usize, number: f32) -> Self {
        for step in &mut self.steps {
            step.with = match step.with {
                With::Operand(i) if i == index => With::Number(number),
                With::Operand(i) if i > index => With::Operand(i - 1),
                other => other,
            };
        }
        self
    }

    /// The same with the first two operands exchanged, if the first step is the only one that reads the second.
    pub fn exchanged(&self) -> Option<Self> {
        let second = |step: &&Step| step.with == With::Operand(1);
        if self.steps.iter().filter(second).count() != 1 || self.steps.first().is_none_or(|s| !second(&s)) {
            return None;
        }
        let mut program = self.clone();
        program.steps[0].swapped ^= true;
        Some(program)
    }

    /// How special a kernel on so many units suits it best: 2 for one of its only step, 1 for one of a single step, 0 for
    /// one of any steps.
    pub fn speciality(&self, units: usize) -> u8 {
        match self.steps[..] {
            [_] if units >= LARGE => 2,
            [_] => 1,
            _ => 0,
        }
    }

    /// The kernel that runs it, so special.
    pub fn specialize(&self, kernel: Kernel, speciality: u8) -> Kernel {
        match speciality {
            0 => kernel,
            1 => kernel.define("SINGLE", 1),
            _ => kernel.define("SINGLE", 1).define("CODE", i64::from(self.codes()[0]) + 1),
        }
    }

    /// The steps as the kernel reads them.
    fn codes(&self) -> [u32; 2] {
        let mut code = 0u64;
        for (i, step) in self.steps.iter().take(STEPS).enumerate() {
            let with = match step.with {
                With::Number(_) => 0,
                With::Operand(operand) => operand as u64 & 3,
                With::Itself => 3,
            };
            let swapped = step.swapped && matches!(step.operation, Operation::Sub | Operation::Div);
            code |= (step.operation as u64 | u64::from(swapped) << 3 | with << 4) << (8 * i);
        }
        #[expect(clippy::cast_possible_truncation, reason = "its two halves are what is meant")]
        let halves = [code as u32, (code >> 32) as u32];
        halves
    }

    /// Sets the parameters that hold it.
    pub fn parameters(&self, mut dispatch: Dispatch) -> Dispatch {
        let [first, second] = self.codes();
        dispatch = dispatch.param("steps", self.steps.len().min(STEPS));
        dispatch = dispatch.param("code0", first).param("code1", second);
        for (i, name) in NUMBERS.into_iter().enumerate() {
            let number = match self.steps.get(i).map(|step| step.with) {
                Some(With::Number(number)) => number,
                _ => 0.0,
            };
            dispatch = dispatch.param(name, number);
        }
        dispatch
    }
}
