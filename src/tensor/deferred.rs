//! Constants whose bytes are made when somebody reads them.
//!
//! Plans of one model for other lengths are made of the same weights. What a plan wants of them is mostly which they are: they
//! lie packed on the device or in other plans already. So in the graphs of such plans a large constant stands for its
//! [`Origin`], which is the same in all of them; its bytes are had again only where a plan packs them anew, or computes
//! with them.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use twox_hash::xxhash3_128::Hasher;

use super::derived::Derived;
use super::storage::Storage;
use super::{ElementType, Quantized, Tensor};

/// Elements up to which a constant is held by all that know it: what shapes are computed with, scales, biases.
const SMALL: usize = 1 << 12;

/// Gives the bytes of a constant again; `None` where they cannot be had any more.
type Make = Box<dyn FnOnce() -> Option<Tensor> + Send>;

/// A constant's place in all plans of a model.
pub(crate) struct Origin {
    /// Bytes.
    length: usize,
    hash: OnceLock<u128>,
    /// The bytes, while somebody holds them.
    content: Mutex<Weak<Content>>,
    pub(super) derived: Mutex<Vec<Derived>>,
    packed: Mutex<Vec<(Form, Weak<dyn Any + Send + Sync>)>>,
}

/// How a constant is packed: for what, and with which parameters.
type Form = (&'static str, Vec<usize>);

/// The bytes of a constant.
#[derive(Debug)]
struct Content {
    storage: Storage,
    /// They could not be had: these are zeros in their place.
    lost: bool,
}

/// A constant in one graph.
pub struct Deferred {
    origin: Arc<Origin>,
    content: OnceLock<Arc<Content>>,
    make: Mutex<Option<Make>>,
    /// What a matrix is made of, where that is known.
    quantized: Option<Arc<Quantized>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Origin {
    /// That of a constant of so many bytes.
    pub fn new(length: usize) -> Arc<Self> {
        Arc::new(Self {
            length,
            hash: OnceLock::new(),
            content: Mutex::new(Weak::new()),
            derived: Mutex::default(),
            packed: Mutex::default(),
        })
    }

    /// The constant in a graph, its bytes given by `make` when they are wanted.
    pub fn tensor(
        self: &Arc<Self>,
        element_type: ElementType,
        shape: Vec<usize>,
        make: impl FnOnce() -> Option<Tensor> + Send + 'static,
    ) -> Tensor {
        let make: Make = Box::new(make);
        let (content, make) = (OnceLock::new(), Mutex::new(Some(make)));
        let deferred = Deferred { origin: Arc::clone(self), content, make, quantized: None };
        Tensor { element_type, shape, storage: Storage::Deferred(Arc::new(deferred)) }
    }
}

impl Deferred {
    pub fn length(&self) -> usize {
        self.origin.length
    }

    /// The bytes. Once they are there, nothing is held by which they are made.
    pub fn storage(&self) -> &Storage {
        &self.content().storage
    }

    fn content(&self) -> &Content {
        self.content.get_or_init(|| {
            let make = lock(&self.make).take();
            if let Some(content) = lock(&self.origin.content).upgrade() {
                return content;
            }
            let made = make.and_then(|make| make()).filter(|made| made.byte_length() == self.origin.length);
            let content = match made {
                Some(made) => {
                    let storage = made.storage.clone().plain();
                    Content { storage, lost: made.is_lost() }
                }
                None => Content { lost: true, storage: Storage::zeros(self.origin.length) },
            };
            let content = Arc::new(content);
            if !content.lost {
                *lock(&self.origin.content) = Arc::downgrade(&content);
            }
            content
        })
    }

    /// Another constant of the same origin is the same.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.origin, &other.origin)
    }

    /// What tells the constant from others, as long as it is held.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.origin).addr()
    }
}

impl Tensor {
    /// Its place in all plans of a model, if it is known over them.
    pub(super) fn origin(&self) -> Option<&Arc<Origin>> {
        match &self.storage {
            Storage::Deferred(deferred) => Some(&deferred.origin),
            _ => None,
        }
    }

    /// The same tensor as one that is known over plans, if it is large.
    pub(super) fn with_origin(self) -> Self {
        if self.is_small() || self.origin().is_some() {
            return self;
        }
        let origin = Origin::new(self.byte_length());
        let Self { element_type, shape, storage } = self;
        let content = Arc::new(Content { storage, lost: false });
        *lock(&origin.content) = Arc::downgrade(&content);
        let deferred = Deferred { origin, content: OnceLock::from(content), make: Mutex::new(None), quantized: None };
        Self { element_type, shape, storage: Storage::Deferred(Arc::new(deferred)) }
    }

    /// The same tensor, known to be made of these numbers. It must be one that is deferred and held by nobody else.
    pub(super) fn with_quantized(mut self, quantized: Arc<Quantized>) -> Self {
        if let Storage::Deferred(deferred) = &mut self.storage
            && let Some(deferred) = Arc::get_mut(deferred)
        {
            deferred.quantized = Some(quantized);
        }
        self
    }

    /// The same tensor as the one of this origin.
    pub(super) fn with_origin_of(mut self, origin: &Arc<Origin>) -> Self {
        if let Storage::Deferred(deferred) = &mut self.storage
            && let Some(deferred) = Arc::get_mut(deferred)
        {
            deferred.origin = Arc::clone(origin);
        }
        self
    }

    /// The numbers that the matrix is made of, if they are known.
    pub(crate) fn quantized(&self) -> Option<&Arc<Quantized>> {
        let Storage::Deferred(deferred) = &self.storage else { return None };
        deferred.quantized.as_ref().filter(|quantized| self.shape == quantized.shape())
    }

    /// Whether the tensor is so small that it is held rather than made again.
    pub(crate) fn is_small(&self) -> bool {
        self.len() <= SMALL || self.element_type == ElementType::String
    }

    /// Whether the bytes could not be had again, so that there are zeros in their place.
    pub(crate) fn is_lost(&self) -> bool {
        match &self.storage {
            Storage::Deferred(deferred) => {
                deferred.content.get().is_some_and(|content| content.lost)
                    || deferred.quantized.as_ref().is_some_and(|quantized| quantized.is_lost())
            }
            _ => false,
        }
    }

    /// A hash of the bytes, which need not be read where it is known.
    #[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "constants are told apart on devices alone"))]
    pub(crate) fn content_hash(&self) -> u128 {
        let known = self.origin().and_then(|origin| origin.hash.get());
        if let Some(hash) = known {
            return *hash;
        }
        let quantized = match &self.storage {
            Storage::Deferred(deferred) => deferred.quantized.as_ref(),
            _ => None,
        };
        let hash = quantized.map_or_else(|| Hasher::oneshot(self.bytes()), |quantized| quantized.hash());
        // That of zeros is not the constant's.
        if let Some(origin) = self.origin().filter(|_| !self.is_lost()) {
            _ = origin.hash.set(hash);
        }
        hash
    }

    /// The constant packed in some form: that which another plan holds already, if it is known over plans.
    pub(crate) fn packed_as<T: Any + Send + Sync>(
        &self,
        name: &'static str,
        parameters: &[usize],
        pack: impl FnOnce(&Self) -> T,
    ) -> Arc<T> {
        let Some(origin) = self.origin() else { return Arc::new(pack(self)) };
        let held = |packed: &[(Form, Weak<dyn Any + Send + Sync>)]| {
            let mut held = packed.iter().filter(|(form, _)| form.0 == name && form.1 == parameters);
            held.find_map(|(_, packed)| packed.upgrade()?.downcast::<T>().ok())
        };
        if let Some(packed) = held(&lock(&origin.packed)) {
            return packed;
        }
        let packed = Arc::new(pack(self));
        if !self.is_lost() {
            let mut all = lock(&origin.packed);
            all.retain(|(_, packed)| packed.strong_count() > 0);
            let weak: Weak<T> = Arc::downgrade(&packed);
            all.push(((name, parameters.to_vec()), weak));
        }
        packed
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.content.get().is_some() { "there" } else { "not read" };
        write!(f, "Deferred({} bytes, {state})", self.origin.length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::tensor::{Recipe, derived};

    fn ramp() -> Tensor {
        Tensor::vector((0..5000u16).map(f32::from).collect())
    }

    /// A constant of this origin that counts how often its bytes are made.
    fn counted(origin: &Arc<Origin>, count: &Arc<AtomicUsize>) -> Tensor {
        let count = Arc::clone(count);
        origin.tensor(ElementType::F32, vec![5000], move || {
            count.fetch_add(1, Ordering::Relaxed);
            Some(ramp())
        })
    }

    #[test]
    fn bytes_are_made_when_they_are_read_and_found_while_somebody_holds_them() {
        let (origin, count) = (Origin::new(20_000), Arc::new(AtomicUsize::new(0)));
        let made = || count.load(Ordering::Relaxed);
        let first = counted(&origin, &count);
        assert_eq!((first.len(), first.byte_length(), first.rank(), made()), (5000, 20_000, 1, 0));
        assert_eq!(first.clone(), ramp());
        let second = counted(&origin, &count);
        assert!(second.shares(&first) && !second.shares(&ramp()));
        assert_eq!((second.bytes(), made()), (ramp().bytes(), 1));
        drop((first, second));
        let third = counted(&origin, &count);
        assert_eq!(third.content_hash(), ramp().content_hash());
        assert_eq!(made(), 2);
        assert_eq!(third.part(0, 3, 2), Some(Tensor::vector(vec![3f32, 4.0])));
        drop(third);
        // Its hash is known, and equal constants need not be read.
        let fourth = counted(&origin, &count);
        assert_eq!((fourth.content_hash(), fourth == counted(&origin, &count)), (ramp().content_hash(), true));
        assert_eq!(made(), 2);
        // Written to, it is another.
        let mut written = fourth.clone();
        written.as_mut_slice::<f32>().unwrap()[1] = 7.0;
        assert_eq!((written.as_slice::<f32>().unwrap()[1], fourth.as_slice::<f32>().unwrap()[1]), (7.0, 1.0));
    }

    #[test]
    fn packed_forms_are_found_while_somebody_holds_them() {
        let (origin, count) = (Origin::new(20_000), Arc::new(AtomicUsize::new(0)));
        let packed = |parameter| {
            let tensor = counted(&origin, &count);
            tensor.packed_as("test", &[parameter], |tensor| tensor.as_slice::<f32>().unwrap()[parameter])
        };
        let made = || count.load(Ordering::Relaxed);
        let (three, again, four) = (packed(3), packed(3), packed(4));
        assert!(Arc::ptr_eq(&three, &again));
        assert_eq!((*three, *four, made()), (3.0, 4.0, 2));
        drop((three, again));
        assert_eq!((*packed(3), made()), (3.0, 3));
    }

    fn halved(inputs: &[Option<&Tensor>]) -> Option<Vec<Tensor>> {
        let values = inputs[0]?.as_slice::<f32>().ok()?;
        let factor = inputs[1]?.as_slice::<f32>().ok()?[0];
        Some(vec![Tensor::vector(values.iter().map(|v| v * factor).collect()), Tensor::scalar(factor)])
    }

    #[test]
    fn what_is_made_of_constants_is_computed_once_and_again_where_it_is_read() {
        let (origin, count, computed) =
            (Origin::new(20_000), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let made = || (count.load(Ordering::Relaxed), computed.load(Ordering::Relaxed));
        let recipe = Recipe { name: "test", by: 0, parameters: vec![] };
        let times = |factor: f32, name: &'static str| {
            let (tensor, factor) = (counted(&origin, &count), Tensor::scalar(factor));
            let computed = Arc::clone(&computed);
            let found = derived(Recipe { name, ..recipe.clone() }, &[Some(&tensor), Some(&factor)], move |inputs| {
                computed.fetch_add(1, Ordering::Relaxed);
                halved(inputs)
            });
            found.unwrap()
        };
        let first = times(0.5, "test");
        assert_eq!((first[0].as_slice::<f32>().unwrap()[4], made()), (2.0, (1, 1)));
        let hash = first[0].content_hash();
        let second = times(0.5, "test");
        assert!(second[0].shares(&first[0]) && second[1] == Tensor::scalar(0.5f32));
        drop((first, second));
        let third = times(0.5, "test");
        assert_eq!((third[0].content_hash(), made()), (hash, (1, 1)));
        assert_eq!((third[0].as_slice::<f32>().unwrap()[4], made()), (2.0, (2, 2)));
        // Other constants, and another recipe.
        assert_eq!(times(2.0, "test")[0].as_slice::<f32>().unwrap()[4], 8.0);
        times(0.5, "another");
        assert_eq!(made().1, 4);
        // Nothing holds itself.
        let weak = Arc::downgrade(&origin);
        drop((third, origin));
        assert_eq!(weak.strong_count(), 0);
    }

    #[test]
    fn what_cannot_be_had_again_is_said_and_noted_nowhere() {
        let origin = Origin::new(20_000);
        let lost = |origin: &Arc<Origin>| origin.tensor(ElementType::F32, vec![5000], || None);
        let tensor = lost(&origin);
        assert!(!tensor.is_lost());
        assert_eq!(tensor.bytes(), [0; 20_000]);
        assert!(tensor.is_lost());
        let recipe = Recipe { name: "test", by: 0, parameters: vec![] };
        let factor = Tensor::scalar(1f32);
        derived(recipe.clone(), &[Some(&tensor), Some(&factor)], halved).unwrap();
        tensor.packed_as("test", &[], |_| 1);
        let _ = tensor.content_hash();
        // The next one that asks is given what there is then.
        let count = Arc::default();
        let found = counted(&origin, &count);
        assert_eq!((found.content_hash(), found.is_lost()), (ramp().content_hash(), false));
        let made = derived(recipe, &[Some(&found), Some(&factor)], halved).unwrap();
        assert_eq!(made[0], ramp());
        // So is what was made of it.
        drop((found, made));
        let again =
            derived(Recipe { name: "test", by: 0, parameters: vec![] }, &[Some(&lost(&origin)), Some(&factor)], halved);
        let again = again.unwrap();
        assert_eq!(again[0].as_slice::<f32>().unwrap()[4], 0.0);
        assert!(again[0].is_lost());
    }
}
