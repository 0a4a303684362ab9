//! What is made of constants: once, where they are known over all plans of a model.

use std::sync::{Arc, Weak};

use super::deferred::{Origin, lock};
use super::{ElementType, Tensor};

/// What is made of one constant is noted so many times: what is made anew for each length need not be.
const NOTED: usize = 16;

/// What computes constants from others.
type Compute = Arc<dyn Fn(&[Option<&Tensor>]) -> Option<Vec<Tensor>> + Send + Sync>;

/// What is made of constants: by whom (a name, and the address of what else decides it), and with which parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub name: &'static str,
    pub by: usize,
    pub parameters: Vec<usize>,
}

/// What was made of constants, the first of which notes it.
pub(super) struct Derived {
    recipe: Recipe,
    from: Vec<Option<Known>>,
    made: Vec<Made>,
    /// It holds what the recipe names by its address.
    compute: Compute,
}

/// A constant that something was made of. What it is noted by is not held: the constant itself may note it.
enum Known {
    Small(Tensor),
    Large(ElementType, Vec<usize>, Weak<Origin>),
}

/// A constant that was made of others.
enum Made {
    Small(Tensor),
    Large(ElementType, Vec<usize>, Arc<Origin>),
    /// Numbers with scales, of which nothing is computed before it is read.
    Quantized(Arc<Origin>),
}

impl Known {
    fn of(tensor: &Tensor) -> Option<Self> {
        match tensor.origin() {
            Some(origin) => Some(Self::Large(tensor.element_type, tensor.shape.clone(), Arc::downgrade(origin))),
            None => tensor.is_small().then(|| Self::Small(tensor.clone())),
        }
    }

    fn is(&self, tensor: &Tensor) -> bool {
        match (self, tensor.origin()) {
            (Self::Large(element_type, shape, known), Some(origin)) => {
                (*element_type, shape.as_slice()) == (tensor.element_type, tensor.shape())
                    && std::ptr::eq(known.as_ptr(), Arc::as_ptr(origin))
            }
            (Self::Small(known), None) => known == tensor,
            _ => false,
        }
    }
}

/// What `compute` makes of constants, by a recipe that says all it depends on beside them. Where they are known over plans,
/// it is computed once, and then again only where its bytes are read.
pub(crate) fn derived(
    recipe: Recipe,
    inputs: &[Option<&Tensor>],
    compute: impl Fn(&[Option<&Tensor>]) -> Option<Vec<Tensor>> + Send + Sync + 'static,
) -> Option<Vec<Tensor>> {
    let known: Option<Vec<Option<Known>>> =
        inputs.iter().map(|input| input.map_or(Some(None), |tensor| Known::of(tensor).map(Some))).collect();
    let origin = inputs.iter().flatten().find_map(|tensor| tensor.origin());
    let (Some(known), Some(origin)) = (known, origin) else { return compute(inputs) };
    let same = |noted: &&Derived| {
        noted.recipe == recipe
            && noted.from.len() == inputs.len()
            && noted.from.iter().zip(inputs).all(|(known, input)| match (known, input) {
                (Some(known), Some(input)) => known.is(input),
                (known, input) => known.is_none() && input.is_none(),
            })
    };
    if let Some(noted) = lock(&origin.derived).iter().find(same) {
        return noted.tensors(inputs);
    }
    let made = compute(inputs)?;
    // What only looks at one of them otherwise costs nothing, and would have the constant hold itself.
    let own = |tensor: &Tensor| {
        let is = |input: &Tensor| input.origin().zip(tensor.origin()).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
        tensor.quantized().is_some() && !inputs.iter().flatten().any(|input| is(input))
    };
    let looks = made.iter().any(|tensor| tensor.origin().is_some() && !own(tensor));
    if looks || inputs.iter().flatten().any(|tensor| tensor.is_lost()) || lock(&origin.derived).len() >= NOTED {
        return Some(made);
    }
    // From now on these are known too.
    let tensors: Vec<Tensor> = made.into_iter().map(Tensor::with_origin).collect();
    let made = tensors.iter().map(Made::of).collect();
    lock(&origin.derived).push(Derived { recipe, from: known, made, compute: Arc::new(compute) });
    Some(tensors)
}

impl Derived {
    /// What was made, once more of these constants.
    fn tensors(&self, inputs: &[Option<&Tensor>]) -> Option<Vec<Tensor>> {
        let tensor = |(place, made): (usize, &Made)| match made {
            Made::Small(tensor) => Some(tensor.clone()),
            Made::Quantized(origin) => Some((self.compute)(inputs)?.into_iter().nth(place)?.with_origin_of(origin)),
            Made::Large(element_type, shape, origin) => {
                let inputs: Vec<Option<Tensor>> = inputs.iter().map(|input| input.cloned()).collect();
                let compute = Arc::clone(&self.compute);
                Some(origin.tensor(*element_type, shape.clone(), move || {
                    let inputs: Vec<Option<&Tensor>> = inputs.iter().map(Option::as_ref).collect();
                    let made = compute(&inputs)?.into_iter().nth(place)?;
                    inputs.iter().flatten().all(|tensor| !tensor.is_lost()).then_some(made)
                }))
            }
        };
        self.made.iter().enumerate().map(tensor).collect()
    }
}

impl Made {
    fn of(tensor: &Tensor) -> Self {
        match tensor.origin() {
            Some(origin) if tensor.quantized().is_some() => Self::Quantized(Arc::clone(origin)),
            Some(origin) => Self::Large(tensor.element_type, tensor.shape.clone(), Arc::clone(origin)),
            None => Self::Small(tensor.clone()),
        }
    }
}
