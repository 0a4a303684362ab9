//! A model of what lies where while a plan runs, that knows of the plan its steps and nothing of how it was made.
//!
//! Every byte of every buffer holds a part of some value, of some node's scratch memory, or nothing. A step that writes a value
//! puts it there, over whatever was there; a step that reads one must find it whole, in the form that it asks for. So two
//! values that live at the same time never lie in the same bytes: one of them would be found damaged.

use std::collections::{BTreeMap, HashSet};

use rimlight::graph::{NodeId, ValueId};
use rimlight::kernel::assemble::{Access, assembled};
use rimlight::kernel::{DeviceFacts, units};
use rimlight::plan::{Bound, Place, Region, Schedule, ScheduledDispatch, SlotId, Step};

/// What a byte belongs to.
#[derive(Debug, Clone, PartialEq)]
enum Holder {
    Slot(usize),
    /// Of a node (or of the conversion of this label), at this place of its buffer.
    Scratch(Option<NodeId>, String, u64),
}

/// A buffer: ranges by their first byte, each with its end and what it holds.
#[derive(Debug, Default)]
struct Buffer(BTreeMap<u64, (u64, Holder)>);

impl Buffer {
    fn cut(&mut self, at: u64) {
        let before = self.0.range(..at).next_back().map(|(&from, (to, holder))| (from, *to, holder.clone()));
        if let Some((from, to, holder)) = before
            && to > at
        {
            self.0.insert(from, (at, holder.clone()));
            self.0.insert(at, (to, holder));
        }
    }

    fn write(&mut self, from: u64, to: u64, holder: Holder) {
        self.cut(from);
        self.cut(to);
        let covered: Vec<u64> = self.0.range(from..to).map(|(&at, _)| at).collect();
        covered.iter().for_each(|at| drop(self.0.remove(at)));
        self.0.insert(from, (to, holder));
    }

    /// What lies in a range: an error where there is a hole.
    fn read(&mut self, from: u64, to: u64) -> Result<Vec<Holder>, String> {
        self.cut(from);
        self.cut(to);
        let mut at = from;
        let mut found = vec![];
        for (&first, (end, holder)) in self.0.range(from..to) {
            if first != at {
                break;
            }
            at = *end;
            found.push(holder.clone());
        }
        if at < to { Err(format!("bytes {at} to {to} were never written")) } else { Ok(found) }
    }
}

struct Machine<'a> {
    schedule: &'a Schedule,
    buffers: Vec<Buffer>,
    /// Values that the host has.
    host: HashSet<ValueId>,
    /// For each value, the values whose memory it may be in the place of its own: what it is a view of, or is put together of.
    parts: Vec<Vec<ValueId>>,
}

/// Goes through a plan.
///
/// # Errors
/// What is wrong.
pub fn check(schedule: &Schedule, device: &DeviceFacts) -> Result<(), String> {
    let graph = &schedule.graph;
    slots(schedule)?;
    if let Some(large) = schedule.buffers.iter().find(|&&size| size > device.max_buffer_size) {
        return Err(format!("a buffer of {large} bytes"));
    }
    let mut parts = vec![vec![]; graph.values.len()];
    for place in &schedule.places {
        let node = graph.node(place.node);
        if place.place == Place::View || node.operator.name() == "Concat" {
            for output in node.outputs.iter().flatten() {
                parts[output.0] = node.inputs.iter().flatten().copied().collect();
            }
        }
    }
    let mut machine = Machine {
        schedule,
        buffers: schedule.buffers.iter().map(|_| Buffer::default()).collect(),
        host: graph.inputs.iter().copied().collect(),
        parts,
    };
    for held in &schedule.held {
        // The last run left it there.
        let input = graph.inputs[held.state.input];
        for (i, slot) in schedule.slots.iter().enumerate() {
            if slot.value == input && slot.region.buffer == held.buffer {
                machine.write(&slot.region, &Holder::Slot(i));
            }
        }
    }
    for (number, step) in schedule.steps.iter().enumerate() {
        machine.step(step, device).map_err(|e| format!("step {number}: {e}"))?;
    }
    for &output in &graph.outputs {
        let held = schedule.held.iter().find(|held| graph.outputs[held.state.output] == output);
        match held {
            Some(held) => machine.held(held.buffer, output)?,
            None if !machine.on_host(output) => {
                return Err(format!("output '{}' is not brought to the host", graph.value(output).name));
            }
            None => {}
        }
    }
    Ok(())
}

/// Every slot lies in its buffer, aligned, and is as large as its value.
fn slots(schedule: &Schedule) -> Result<(), String> {
    for (i, slot) in schedule.slots.iter().enumerate() {
        let Region { buffer, offset, size } = slot.region;
        if size == 0 {
            continue;
        }
        let unit = slot.storage.unit_bytes();
        let wanted = units(&slot.shape, slot.layout).map(|units| units.max(1) * unit);
        if wanted != Some(size) {
            return Err(format!("slot {i} of {size} bytes where its value takes {wanted:?}"));
        }
        if offset % unit != 0 {
            return Err(format!("slot {i} begins at {offset}, amid a unit"));
        }
        let end = offset.checked_add(size);
        if schedule.buffers.get(buffer).is_none_or(|&length| end.is_none_or(|end| end > length)) {
            return Err(format!("slot {i} ends outside its buffer"));
        }
    }
    Ok(())
}

impl Machine<'_> {
    fn write(&mut self, region: &Region, holder: &Holder) {
        self.buffers[region.buffer].write(region.offset, region.offset + region.size, holder.clone());
    }

    fn name(&self, slot: usize) -> String {
        let value = self.schedule.slots[slot].value;
        format!("'{}' (slot {slot})", self.schedule.graph.value(value).name)
    }

    /// Whether the memory of `value` may be that of `other`.
    fn is_made_of(&self, value: ValueId, other: ValueId) -> bool {
        value == other || self.parts[value.0].iter().any(|&part| self.is_made_of(part, other))
    }

    fn on_host(&self, value: ValueId) -> bool {
        self.host.contains(&value)
            || self.schedule.graph.constant(value).is_some()
            || !self.parts[value.0].is_empty() && self.parts[value.0].iter().all(|&part| self.on_host(part))
    }

    /// A slot must be found whole.
    fn read(&mut self, slot: usize) -> Result<(), String> {
        let wanted = &self.schedule.slots[slot];
        // Of what has no elements nothing is read.
        if wanted.shape.contains(&0) {
            return Ok(());
        }
        let Region { buffer, offset, size } = wanted.region;
        let holders =
            self.buffers[buffer].read(offset, offset + size).map_err(|e| format!("{}: {e}", self.name(slot)))?;
        for holder in holders {
            let fits = match &holder {
                Holder::Slot(other) if *other == slot => true,
                Holder::Slot(other) => {
                    let other = &self.schedule.slots[*other];
                    // Another form of the value itself is other bytes.
                    other.value != wanted.value
                        && self.is_made_of(wanted.value, other.value)
                        && other.storage == wanted.storage
                }
                Holder::Scratch(..) => false,
            };
            if !fits {
                let found = match holder {
                    Holder::Slot(other) => self.name(other),
                    other => format!("{other:?}"),
                };
                return Err(format!("{} is read where {found} lies", self.name(slot)));
            }
        }
        Ok(())
    }

    fn held(&mut self, buffer: usize, output: ValueId) -> Result<(), String> {
        let slots = &self.schedule.slots;
        let slot = (0..slots.len()).find(|&i| slots[i].value == output && slots[i].region.buffer == buffer);
        self.read(slot.ok_or("a state's output is not in its buffer")?)
    }

    fn step(&mut self, step: &Step, device: &DeviceFacts) -> Result<(), String> {
        match step {
            Step::Upload(SlotId(slot)) => {
                let wanted = &self.schedule.slots[*slot];
                if !self.on_host(wanted.value) {
                    return Err(format!("{} is uploaded before it is there", self.name(*slot)));
                }
                self.write(&wanted.region, &Holder::Slot(*slot));
            }
            Step::Download(SlotId(slot)) => {
                self.read(*slot)?;
                self.host.insert(self.schedule.slots[*slot].value);
            }
            Step::Host(step) => {
                let node = self.schedule.graph.node(step.node);
                for &input in node.inputs.iter().flatten() {
                    if !self.on_host(input) {
                        return Err(format!("'{}' reads what is not on the host", node.name));
                    }
                }
                self.host.extend(node.outputs.iter().flatten());
            }
            Step::Dispatch(dispatch) => self.dispatch(dispatch, device)?,
        }
        Ok(())
    }

    fn dispatch(&mut self, dispatch: &ScheduledDispatch, device: &DeviceFacts) -> Result<(), String> {
        let kernel = &self.schedule.kernels[dispatch.kernel];
        let buffers = assembled(kernel).map_err(|e| e.to_string())?.buffers;
        if buffers.len() != dispatch.bindings.len() {
            return Err(format!("{} bindings for {} buffers", dispatch.bindings.len(), buffers.len()));
        }
        if dispatch.workgroups.iter().any(|&n| n > device.max_workgroups) {
            return Err(format!("{:?} workgroups", dispatch.workgroups));
        }
        if buffers.iter().filter(|b| b.binding.is_some()).count() > device.max_storage_buffers as usize {
            return Err(format!("{} binds more than the device has", kernel.shader));
        }
        let holder = |region: &Region| Holder::Scratch(dispatch.node, dispatch.label.clone(), region.offset);
        let (mut read, mut written) = (HashSet::new(), vec![]);
        for (bound, buffer) in dispatch.bindings.iter().zip(&buffers) {
            let region = match bound {
                Bound::Slot(SlotId(slot)) => {
                    // What is read in place is read, though not bound.
                    if buffer.access == Access::Read {
                        self.read(*slot)?;
                    }
                    self.schedule.slots[*slot].region
                }
                Bound::Scratch(region) => {
                    let end = region.offset + region.size;
                    if self.schedule.buffers.get(region.buffer).is_none_or(|&size| end > size) {
                        return Err("scratch outside its buffer".to_owned());
                    }
                    if buffer.access == Access::Read
                        && self.buffers[region.buffer].read(region.offset, end)?.iter().any(|h| *h != holder(region))
                    {
                        return Err("scratch is read that something else was written over".to_owned());
                    }
                    *region
                }
                Bound::Constant(_) => continue,
            };
            if region.size > device.max_binding_size {
                return Err(format!("a binding of {} bytes", region.size));
            }
            match (buffer.access, buffer.binding) {
                (Access::Read, Some(_)) => drop(read.insert(region.buffer)),
                (Access::Read, None) => {}
                _ => written.push((region, bound)),
            }
        }
        for (i, (region, bound)) in written.iter().enumerate() {
            if read.contains(&region.buffer) {
                return Err(format!("buffer {} is both read and written", region.buffer));
            }
            let apart = |other: &Region| {
                other.buffer != region.buffer
                    || other.offset + other.size <= region.offset
                    || region.offset + region.size <= other.offset
            };
            if written[..i].iter().any(|(other, _)| !apart(other)) {
                return Err("two buffers that are written overlap".to_owned());
            }
            match bound {
                Bound::Slot(SlotId(slot)) => self.written(dispatch, *slot),
                _ => self.write(region, &holder(region)),
            }
        }
        Ok(())
    }

    /// Notes that a dispatch writes a slot. One of a concatenation leaves alone the parts that no dispatch brings, because
    /// they were written where they belong.
    fn written(&mut self, dispatch: &ScheduledDispatch, slot: usize) {
        let schedule = self.schedule;
        let region = schedule.slots[slot].region;
        let mut placed: Vec<Region> = vec![];
        if let Some(id) = dispatch.node
            && schedule.graph.node(id).operator.name() == "Concat"
        {
            let brought: HashSet<usize> = schedule
                .steps
                .iter()
                .filter_map(|step| match step {
                    Step::Dispatch(other) if other.node == Some(id) => Some(other),
                    _ => None,
                })
                .flat_map(|other| &other.bindings)
                .filter_map(|bound| match bound {
                    Bound::Slot(SlotId(slot)) => Some(*slot),
                    _ => None,
                })
                .collect();
            let inputs = &schedule.graph.node(id).inputs;
            for (i, other) in schedule.slots.iter().enumerate() {
                let inside = other.region.buffer == region.buffer
                    && other.region.offset >= region.offset
                    && other.region.offset + other.region.size <= region.offset + region.size;
                if inside && i != slot && !brought.contains(&i) && inputs.contains(&Some(other.value)) {
                    placed.push(other.region);
                }
            }
        }
        placed.sort_by_key(|part| part.offset);
        let (mut at, end) = (region.offset, region.offset + region.size);
        for part in placed {
            if part.offset > at {
                self.write(&Region { offset: at, size: part.offset - at, ..region }, &Holder::Slot(slot));
            }
            at = at.max(part.offset + part.size);
        }
        if at < end {
            self.write(&Region { offset: at, size: end - at, ..region }, &Holder::Slot(slot));
        }
    }
}
