//! Sizes that a model with open dimensions may meet, from the first that it does.

use super::Options;
use super::binding::Shapes;
use super::request::{Content, Request};
use crate::graph::{Bindings, Dim, Graph};

/// What an open dimension stands for, as far as its place in an input tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The first of several.
    Batch,
    /// One of the last two of a picture.
    Side,
    /// Any other: the length of a sequence.
    Length,
}

/// How large a dimension is taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Small,
    Large,
}

impl Kind {
    /// The size that stands for all small or large ones. One of any length, where `odd`, is not whole units.
    const fn size(self, level: Level, odd: bool) -> usize {
        match (self, level) {
            (Self::Batch | Self::Length, Level::Small) => 1,
            (Self::Batch, Level::Large) => 8,
            (Self::Length, Level::Large) => 256 - odd as usize,
            (Self::Side, Level::Small) => 64 + odd as usize,
            (Self::Side, Level::Large) => 512 - odd as usize,
        }
    }
}

/// An open dimension, and the size that was asked for.
#[derive(Debug)]
struct Open {
    symbol: String,
    kind: Kind,
    asked: usize,
}

/// Requests for a model at sizes that stand for all that may come after this one, which is among them; the largest first. Each
/// is followed by what is to be planned in its place where it cannot be right.
pub fn representatives(graph: &Graph, options: &Options, asked: &Request) -> Vec<Vec<Request>> {
    let opens = opens(graph, options, asked);
    let sums = sums(&opens);
    // What grows in place and what comes to it stay within the room.
    let room = asked.grown.iter().map(|grown| grown.length / 2).min().unwrap_or(usize::MAX);
    let most = |kind| if kind == Kind::Length { room } else { usize::MAX };
    let at = |large: &dyn Fn(usize) -> bool, odd: bool, summed: bool| {
        let size = |(i, open): (usize, &Open)| match large(i) {
            true => open.kind.size(Level::Large, odd).min(most(open.kind)).max(open.asked),
            false => open.kind.size(Level::Small, odd).min(open.asked.max(1)),
        };
        let mut sizes: Vec<usize> = opens.iter().enumerate().map(size).collect();
        for &[sum, a, b] in sums.iter().filter(|_| summed) {
            sizes[sum] = sizes[a].saturating_add(sizes[b]);
        }
        request(graph, options, asked, &opens, &sizes)
    };
    // The sides of a picture grow together.
    let mut groups: Vec<Vec<usize>> = vec![];
    for (i, open) in opens.iter().enumerate().filter(|(i, _)| sums.iter().all(|sum| sum[0] != *i)) {
        match groups.iter_mut().find(|group| open.kind == Kind::Side && opens[group[0]].kind == Kind::Side) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    let ways = |large: &dyn Fn(usize) -> bool, odd: bool| {
        let mut ways: Vec<Request> = vec![];
        for (summed, odd) in [(true, odd), (true, false), (false, odd), (false, false)] {
            let way = at(large, odd, summed);
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways
    };
    let mut all = vec![ways(&|_| true, false), vec![asked.clone()]];
    if groups.len() <= MOST_ALONE {
        all.extend(groups.iter().map(|group| ways(&|i| group.contains(&i), true)));
    }
    all.push(ways(&|_| false, false));
    let mut met: Vec<Vec<Request>> = vec![];
    for ways in all {
        if met.iter().all(|other| other[0] != ways[0]) {
            met.push(ways);
        }
    }
    met
}

/// Dimensions up to which each is large alone once.
const MOST_ALONE: usize = 3;

/// The name that stands for a dimension of an input, if it is open; those without one are the same where they are in the same
/// place and of the same size.
fn symbol(dim: &Dim, place: usize, size: usize) -> Option<String> {
    match dim {
        Dim::Known(_) => None,
        Dim::Unknown => Some(format!("{place}: {size}")),
        Dim::Expression(_) => {
            let mut symbols = vec![];
            dim.symbols(&mut symbols);
            (*dim == Dim::symbol(symbols.first()?.as_str())).then(|| symbols.swap_remove(0))
        }
    }
}

/// The open dimensions of a model's inputs, in their order.
fn opens(graph: &Graph, options: &Options, asked: &Request) -> Vec<Open> {
    let mut opens: Vec<Open> = vec![];
    for (&id, shape) in graph.inputs.iter().zip(&asked.shapes) {
        let info = graph.value(id);
        let Some(fact) = info.fact.as_ref().filter(|_| !options.shapes.contains_key(&info.name)) else { continue };
        let dims: Vec<Dim> = fact.shape.iter().map(|dim| dim.bind(&options.dims)).collect();
        let rank = dims.len();
        let picture = rank >= 4 && dims.iter().rev().take(2).all(|dim| dim.size().is_none());
        for (place, (dim, &size)) in dims.iter().zip(shape).enumerate() {
            let Some(symbol) = symbol(dim, place, size) else { continue };
            let kind = match place {
                // Few have pictures in batches that change: the first is what kernels are to be best for.
                0 if rank >= 4 => continue,
                0 if rank > 1 => Kind::Batch,
                _ if picture && place + 2 >= rank => Kind::Side,
                _ => Kind::Length,
            };
            if opens.iter().all(|open| open.symbol != symbol) {
                opens.push(Open { symbol, kind, asked: size });
            }
        }
    }
    opens
}

/// Lengths that are perhaps the sum of two others, as that of all keys is of those so far and those to come: each with these.
fn sums(opens: &[Open]) -> Vec<[usize; 3]> {
    let lengths: Vec<usize> = (0..opens.len()).filter(|&i| opens[i].kind == Kind::Length).collect();
    let pair = |sum: usize| {
        let others: Vec<usize> = lengths.iter().copied().filter(|&i| i != sum).collect();
        let mut pairs = others.iter().enumerate().flat_map(|(n, &a)| others[n + 1..].iter().map(move |&b| [sum, a, b]));
        pairs.find(|[sum, a, b]| opens[*a].asked.checked_add(opens[*b].asked) == Some(opens[*sum].asked))
    };
    let largest = lengths.iter().copied().max_by_key(|&i| opens[i].asked);
    largest.and_then(pair).into_iter().collect()
}

/// The request with these sizes.
fn request(graph: &Graph, options: &Options, asked: &Request, opens: &[Open], sizes: &[usize]) -> Request {
    let size = |symbol: &str| opens.iter().position(|open| open.symbol == symbol).map(|i| sizes[i]);
    let bound = opens.iter().zip(sizes).map(|(open, &n)| (open.symbol.clone(), i64::try_from(n).unwrap_or(i64::MAX)));
    let bound: Bindings = bound.collect();
    let shapes: Shapes = graph
        .inputs
        .iter()
        .zip(&asked.shapes)
        .map(|(&id, shape)| {
            let info = graph.value(id);
            let Some(fact) = info.fact.as_ref().filter(|_| !options.shapes.contains_key(&info.name)) else {
                return shape.clone();
            };
            let dims = fact.shape.iter().map(|dim| dim.bind(&options.dims)).zip(shape).enumerate();
            dims.map(|(place, (dim, &asked))| match symbol(&dim, place, asked) {
                Some(symbol) => size(&symbol).unwrap_or(asked),
                None => dim.bind(&bound).size().unwrap_or(asked),
            })
            .collect()
        })
        .collect();
    let contents = asked.contents.iter().map(|(i, content)| {
        let same = shapes.get(*i) == asked.shapes.get(*i);
        (*i, if same { content.clone() } else { Content::Unknown })
    });
    let contents = contents.collect();
    Request { shapes, contents, grown: asked.grown.clone() }
}
