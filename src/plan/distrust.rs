//! Kernels that plans do without, since they were found to answer wrong on a device.

use std::collections::BTreeSet;

use crate::kernel::Candidate;
#[cfg(feature = "gpu")]
use crate::kernel::shaders::SHADERS;

/// Shaders that answer wrong on a device, alone or together. The default trusts all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distrust {
    /// A candidate whose shaders hold all of one of these is passed over.
    families: BTreeSet<BTreeSet<String>>,
}

impl Distrust {
    /// Whether everything is trusted.
    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }

    /// Passes over candidates that are made of all of these shaders; `false` if they were passed over already.
    pub fn add<'a>(&mut self, shaders: impl IntoIterator<Item = &'a str>) -> bool {
        let family: BTreeSet<String> = shaders.into_iter().map(str::to_owned).collect();
        !family.is_empty() && !self.knows(&family) && self.families.insert(family)
    }

    /// Whether a candidate is passed over, and by which shaders.
    pub fn objects_to(&self, candidate: &Candidate) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let shaders: BTreeSet<String> = candidate.dispatches.iter().map(|d| d.kernel.shader.to_owned()).collect();
        let family = self.families.iter().find(|family| family.is_subset(&shaders))?;
        Some(words(family))
    }

    /// The families, each as its shaders' paths joined by `+`.
    pub fn families(&self) -> impl Iterator<Item = String> + '_ {
        self.families.iter().map(words)
    }

    fn knows(&self, family: &BTreeSet<String>) -> bool {
        self.families.iter().any(|known| known.is_subset(family))
    }
}

fn words(family: &BTreeSet<String>) -> String {
    family.iter().map(String::as_str).collect::<Vec<_>>().join(" + ")
}

/// The shaders whose text, imports included, says one of these words.
#[cfg(feature = "gpu")]
pub fn shaders_that_say(words: &[&str]) -> Vec<&'static str> {
    SHADERS.iter().map(|(path, _)| *path).filter(|path| says(path, words, 0)).collect()
}

#[cfg(feature = "gpu")]
fn says(path: &str, words: &[&str], depth: usize) -> bool {
    let Some((_, text)) = SHADERS.iter().find(|(known, _)| *known == path) else { return false };
    words.iter().any(|word| text.contains(word))
        || depth < 8
            && text.lines().filter_map(|line| line.strip_prefix("#import ")).any(|import| {
                let path = import.split_whitespace().next().unwrap_or_default();
                says(&format!("{path}.wgsl"), words, depth + 1)
            })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Dispatch, Kernel};

    fn candidate(shaders: &[&'static str]) -> Candidate {
        shaders
            .iter()
            .fold(Candidate::new("c", vec![], vec![]), |c, shader| c.dispatch(Dispatch::of(Kernel::of(shader))))
    }

    #[test]
    fn what_holds_all_of_a_family_is_passed_over() {
        let mut distrust = Distrust::default();
        assert!(distrust.add(["conv/winograd_input.wgsl", "matmul/register.wgsl"]));
        assert_eq!(distrust.objects_to(&candidate(&["matmul/register.wgsl"])), None);
        assert!(distrust.objects_to(&candidate(&["matmul/register.wgsl", "conv/winograd_input.wgsl"])).is_some());
        assert!(distrust.add(["matmul/register.wgsl"]));
        assert!(distrust.objects_to(&candidate(&["matmul/register.wgsl"])).is_some());
        // It says nothing new.
        assert!(!distrust.add(["matmul/register.wgsl", "conv/join.wgsl"]));
        assert!(!distrust.add([]));
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn shaders_are_found_by_what_they_and_their_imports_say() {
        let dots = shaders_that_say(&["dot4I8Packed"]);
        assert!(dots.contains(&"quantize/packed_register.wgsl") && !dots.contains(&"conv/register.wgsl"), "{dots:?}");
        // By `common/workgroup`.
        assert!(shaders_that_say(&["workgroupBarrier"]).contains(&"norm/softmax.wgsl"));
    }
}
