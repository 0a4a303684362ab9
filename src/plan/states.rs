//! States that stay where they are: the input and the output that is the next one are one memory, which no other value takes.

use super::draft::{Draft, FormId, Stage};
use super::schedule::State;
use super::share::Sharing;
use crate::graph::Graph;

/// A state's forms: that in which its input is brought to the device, and that in which its output would leave it.
pub type Forms = (FormId, FormId);

/// The forms of each state, where the device has both.
pub fn forms(graph: &Graph, draft: &Draft, states: &[State]) -> Vec<Option<Forms>> {
    let find = |value, up: bool| {
        draft.stages.iter().find_map(|stage| match *stage {
            Stage::Upload(form) if up && Some(&draft.forms[form].value) == value => Some(form),
            Stage::Download(form) if !up && Some(&draft.forms[form].value) == value => Some(form),
            _ => None,
        })
    };
    let forms = |state: &State| {
        let (input, output) = (graph.inputs.get(state.input), graph.outputs.get(state.output));
        find(input, true).zip(find(output, false))
    };
    states.iter().map(forms).collect()
}

/// A state whose memory is one: the form that stands for it, and its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub state: State,
    pub root: FormId,
    pub bytes: u64,
}

/// The states whose input lies where their output does.
pub fn held(graph: &Graph, draft: &Draft, sharing: &Sharing, states: &[State]) -> Vec<Room> {
    let mut held: Vec<Room> = vec![];
    // What the host has a part in is read back, or comes from there.
    if draft.stages.iter().any(|stage| matches!(stage, Stage::Host(_))) {
        return held;
    }
    for (&state, forms) in states.iter().zip(forms(graph, draft, states)) {
        let Some((input, output)) = forms else { continue };
        let (root, offset) = sharing.root(output);
        let (from, to) = (&draft.forms[input], &draft.forms[output]);
        // Of nothing so far, nothing need lie anywhere.
        let together = from.units == 0 || sharing.root(input) == (root, offset);
        let whole = offset == 0 && root == sharing.root(root).0 && draft.forms[root].bytes() == to.bytes();
        let bytes = (state.elements.div_ceil(4) as u64).saturating_mul(to.storage.unit_bytes());
        let fits = from.storage == to.storage && to.bytes() <= bytes;
        if together && whole && fits && held.iter().all(|room| room.root != root) {
            held.push(Room { state, root, bytes });
        }
    }
    held
}
