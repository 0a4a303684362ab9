//! Where values lie: buffers that values share when their lives do not meet.
//!
//! wgpu refuses one buffer bound as `read` and as `read_write` in one dispatch, even where the ranges are disjoint. So
//! values lie in several buffers, such that no dispatch reads and writes in the same one; two do not suffice for residual
//! networks. Within a buffer, values are placed first-fit, largest first ("greedy by size" of Pisarchyk and Lee, 2020,
//! arXiv 2001.03288); several orders and numbers of buffers are tried, and the smallest total wins.

/// Memory that somebody needs for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Bytes.
    pub size: u64,
    /// The first and the last step at which it must be there.
    pub live: (usize, usize),
}

/// Where each need was placed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// For each need, the buffer and the offset in it.
    pub places: Vec<(usize, u64)>,
    /// The buffers' sizes.
    pub buffers: Vec<u64>,
}

impl Assignment {
    /// Bytes of all buffers.
    pub fn total(&self) -> u64 {
        self.buffers.iter().sum()
    }
}

/// Orders that are tried beside the sorted ones. Enough to come within a few percent of the best on residual networks,
/// at well under a millisecond each.
const SHUFFLES: u64 = 48;
/// Work (needs × needs × orders) after which fewer orders are tried, so that a plan stays a matter of milliseconds.
const WORK_LIMIT: u64 = 1 << 22;

/// Places needs into buffers. `conflicts` are pairs that may not share a buffer; offsets are multiples of `alignment`,
/// and no buffer is larger than `limit`.
pub fn assign(needs: &[Need], conflicts: &[(usize, usize)], alignment: u64, limit: u64) -> Assignment {
    let mut enemies = vec![vec![]; needs.len()];
    for &(a, b) in conflicts {
        enemies[a].push(b);
        enemies[b].push(a);
    }
    let bound = lower_bound(needs);
    let mut best: Option<Assignment> = None;
    let squared = (needs.len() as u64).pow(2).max(1);
    let shuffles = (WORK_LIMIT / squared).clamp(2, SHUFFLES);
    for most in 2..=4 {
        for order in orders(needs, shuffles) {
            let below = best.as_ref().map(Assignment::total);
            if below.is_some_and(|total| total <= bound) {
                return best.unwrap_or_default();
            }
            best = place(needs, &enemies, &order, (most, below), alignment, limit).or(best);
        }
    }
    best.unwrap_or_default()
}

/// The largest sum of sizes that live at one step.
pub fn lower_bound(needs: &[Need]) -> u64 {
    let mut changes: Vec<(usize, i128)> =
        needs.iter().flat_map(|n| [(n.live.0, i128::from(n.size)), (n.live.1 + 1, -i128::from(n.size))]).collect();
    changes.sort_unstable();
    let mut live = 0;
    let mut most = 0;
    for (_, change) in changes {
        live += change;
        most = most.max(live);
    }
    u64::try_from(most).unwrap_or(u64::MAX)
}

/// Orders in which to place: by size, by size times life, and the first shuffled a little (seeded, so that plans repeat).
fn orders(needs: &[Need], shuffles: u64) -> Vec<Vec<usize>> {
    let mut by_size: Vec<usize> = (0..needs.len()).collect();
    by_size.sort_by_key(|&i| (std::cmp::Reverse(needs[i].size), needs[i].live));
    let mut by_area: Vec<usize> = (0..needs.len()).collect();
    by_area.sort_by_key(|&i| {
        let life = (needs[i].live.1 - needs[i].live.0 + 1) as u64;
        (std::cmp::Reverse(needs[i].size.saturating_mul(life)), needs[i].live)
    });
    let mut by_start: Vec<usize> = (0..needs.len()).collect();
    by_start.sort_by_key(|&i| needs[i].live);
    let mut orders = vec![by_size.clone(), by_area, by_start];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..shuffles {
        let mut order = by_size.clone();
        // Neighbours in size change places: the large ones still come early.
        for i in 1..order.len() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let reach = (i as u64).min(6);
            let j = i - usize::try_from((state >> 33) % (reach + 1)).unwrap_or(0);
            order.swap(i, j);
        }
        orders.push(order);
    }
    orders
}

/// Places needs in this order in `most` buffers, or in more where a need fits none; `None` as soon as they take no fewer bytes
/// than `below`.
fn place(
    needs: &[Need],
    enemies: &[Vec<usize>],
    order: &[usize],
    (most, below): (usize, Option<u64>),
    alignment: u64,
    limit: u64,
) -> Option<Assignment> {
    let mut total = 0u64;
    let mut places: Vec<Option<(usize, u64)>> = vec![None; needs.len()];
    let mut buffers: Vec<u64> = vec![];
    let mut members: Vec<Vec<usize>> = vec![];
    for &i in order {
        let need = needs[i];
        // The buffer that grows least; among equals the one where the need lies lowest.
        let mut best: Option<(u64, u64, usize)> = None;
        for buffer in 0..buffers.len() {
            if enemies[i].iter().any(|&e| places[e].is_some_and(|(b, _)| b == buffer)) {
                continue;
            }
            let offset = gap(needs, &places, &members[buffer], need, alignment);
            let end = offset.saturating_add(need.size);
            if end > limit {
                continue;
            }
            let growth = end.saturating_sub(buffers[buffer]);
            if best.is_none_or(|b| (growth, offset, buffer) < b) {
                best = Some((growth, offset, buffer));
            }
        }
        // A new buffer where there may be one more and it would cost no more than growing, or where nothing else will do.
        let open = match best {
            None => true,
            Some((growth, ..)) => buffers.len() < most && growth >= need.size,
        };
        let (buffer, offset) = match best.filter(|_| !open) {
            Some((_, offset, buffer)) => (buffer, offset),
            None => {
                buffers.push(0);
                members.push(vec![]);
                (buffers.len() - 1, 0)
            }
        };
        places[i] = Some((buffer, offset));
        members[buffer].push(i);
        let end = buffers[buffer].max(offset + need.size.next_multiple_of(alignment.max(1)));
        total = total.saturating_add(end - buffers[buffer]);
        if below.is_some_and(|below| total >= below) {
            return None;
        }
        buffers[buffer] = end;
    }
    Some(Assignment { places: places.into_iter().map(Option::unwrap_or_default).collect(), buffers })
}

/// The lowest offset in a buffer at which a need fits between those that live at the same time.
fn gap(needs: &[Need], places: &[Option<(usize, u64)>], members: &[usize], need: Need, alignment: u64) -> u64 {
    let mut taken: Vec<(u64, u64)> = members
        .iter()
        .filter(|&&m| needs[m].live.0 <= need.live.1 && need.live.0 <= needs[m].live.1)
        .filter_map(|&m| places[m].map(|(_, offset)| (offset, offset + needs[m].size)))
        .collect();
    taken.sort_unstable();
    let mut offset = 0;
    for (from, to) in taken {
        if offset + need.size <= from {
            break;
        }
        offset = offset.max(to.next_multiple_of(alignment.max(1)));
    }
    offset
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(needs: &[Need], conflicts: &[(usize, usize)], assignment: &Assignment) {
        for i in 0..needs.len() {
            let (buffer, offset) = assignment.places[i];
            assert_eq!(offset % 256, 0);
            assert!(offset + needs[i].size <= assignment.buffers[buffer]);
            for j in 0..i {
                let apart = needs[i].live.1 < needs[j].live.0 || needs[j].live.1 < needs[i].live.0;
                let (other, at) = assignment.places[j];
                assert!(
                    apart
                        || buffer != other
                        || offset + needs[i].size <= at
                        || at + needs[j].size <= offset
                        || needs[i].size == 0
                        || needs[j].size == 0,
                    "{i} and {j} live at the same time in the same bytes"
                );
            }
        }
        for &(a, b) in conflicts {
            assert_ne!(assignment.places[a].0, assignment.places[b].0, "{a} and {b} share a buffer");
        }
    }

    proptest! {
        #[test]
        fn nobody_overlaps_and_no_dispatch_reads_what_it_writes(
            sizes in prop::collection::vec((0u64..5000, 0usize..20, 0usize..6), 0..40),
        ) {
            let needs: Vec<Need> =
                sizes.iter().map(|&(size, first, life)| Need { size, live: (first, first + life) }).collect();
            // Neighbours in time conflict, as a step's input and output do.
            let mut conflicts = vec![];
            for i in 0..needs.len() {
                for j in 0..needs.len() {
                    if i != j && needs[i].live.1 == needs[j].live.0 {
                        conflicts.push((i, j));
                    }
                }
            }
            check(&needs, &conflicts, &assign(&needs, &conflicts, 256, u64::MAX));
        }
    }

    #[test]
    fn a_chain_takes_two_buffers_of_its_largest_neighbours() {
        let needs: Vec<Need> =
            [1024, 4096, 512, 2048, 256].iter().enumerate().map(|(i, &size)| Need { size, live: (i, i + 1) }).collect();
        let conflicts: Vec<_> = (1..needs.len()).map(|i| (i - 1, i)).collect();
        let assignment = assign(&needs, &conflicts, 256, u64::MAX);
        check(&needs, &conflicts, &assignment);
        // 1024 and 4096 meet, and 512 and 2048: one buffer holds 4096, 2048; the other 1024, 512, 256.
        assert_eq!(assignment.total(), 4096 + 1024);
        assert_eq!(lower_bound(&needs), 4096 + 1024);
    }
}
