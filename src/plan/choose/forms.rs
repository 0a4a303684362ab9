//! The forms of values on the device: what they are stored as, where they lie already, and what brings them there.

use super::super::draft::{Form, FormId, Run, Source, Stage, Target};
use super::{Chooser, overhead};
use crate::error::PlanError;
use crate::graph::{Fact, Node, ValueId};
use crate::kernel::{Kernel, Layout, Storage, units};
use crate::ops::convert;

/// What it costs to read and write so many units of 32 bits.
fn moving(units: u64) -> f64 {
    units as f64 * 16.0 * 2.0 / 10.0
}

impl Chooser<'_> {
    /// What a node's output is stored as on the device.
    pub(super) fn storage(&self, value: Option<ValueId>, fact: &Fact) -> Option<Storage> {
        match value {
            Some(value) => self.precision.value(value, fact),
            None => Storage::of(fact.element_type, self.options.half),
        }
    }

    /// What a node's input is stored as on the device.
    pub(super) fn operand_storage(&self, node: &Node, id: ValueId, fact: &Fact) -> Option<Storage> {
        match self.graph.constant(id) {
            Some(_) => self.precision.constant(self.graph, node, fact),
            None => self.precision.value(id, fact),
        }
    }

    /// The layout in which a value lies on the device first; linear if it does not.
    pub(super) fn layout(&self, id: ValueId) -> Layout {
        self.on_device
            .get(&id)
            .and_then(|forms| forms.first())
            .map_or(Layout::Linear, |&form| self.draft.forms[form].layout)
    }

    /// What it costs to have a value in a layout, and in another storage than its own if one is named.
    pub(super) fn conversion_cost(&self, id: ValueId, layout: Layout, storage: Option<Storage>) -> f64 {
        if self.graph.constant(id).is_some() {
            return 0.0;
        }
        let shape = self.graph.fact(id).and_then(Fact::concrete).unwrap_or_default();
        let layout = layout.canonical(&shape);
        let forms = self.on_device.get(&id).map_or(&[][..], Vec::as_slice);
        let fits = |form: &Form| form.layout == layout && storage.is_none_or(|s| s == form.storage);
        if forms.iter().any(|&f| fits(&self.draft.forms[f])) {
            return 0.0;
        }
        let move_it = overhead(self.device) + moving(units(&shape, layout).unwrap_or(u64::MAX));
        if forms.is_empty() && layout != Layout::Linear { 2.0 * move_it } else { move_it }
    }

    /// The kernel that brings a value into a layout, where it lies in another.
    pub(super) fn conversion(&self, id: ValueId, layout: Layout) -> Option<Kernel> {
        let own = self.own_storage(id).ok()?;
        let shape = self.graph.fact(id).and_then(Fact::concrete).unwrap_or_default();
        let (from, to) = (self.layout(id), layout.canonical(&shape));
        (from != to).then(|| convert::convert(&shape, from, to, own, own, self.device).ok().map(|d| d.kernel))?
    }

    /// A value's own storage on the device.
    pub(super) fn own_storage(&self, value: ValueId) -> Result<Storage, PlanError> {
        let info = self.graph.value(value);
        let storage = info.fact.as_ref().and_then(|f| self.storage(Some(value), f));
        storage.ok_or_else(|| PlanError::Options(format!("value '{}' cannot lie on the device", info.name)))
    }

    pub(super) fn add_form(&mut self, value: ValueId, layout: Layout, storage: Storage) -> Result<FormId, PlanError> {
        let info = self.graph.value(value);
        let Some(shape) = info.fact.as_ref().and_then(Fact::concrete) else {
            return Err(PlanError::Options(format!("value '{}' cannot lie on the device", info.name)));
        };
        let layout = layout.canonical(&shape);
        let units = units(&shape, layout).unwrap_or(u64::MAX);
        self.check_size(&info.name, units.saturating_mul(storage.unit_bytes()))?;
        self.draft.forms.push(Form { value, shape, layout, storage, units });
        let form = self.draft.forms.len() - 1;
        self.on_device.entry(value).or_default().push(form);
        Ok(form)
    }

    /// Bytes that a value may take.
    pub(super) fn limit(&self) -> u64 {
        self.device.tensor_limit()
    }

    pub(super) fn check_size(&self, name: &str, bytes: u64) -> Result<(), PlanError> {
        let limit = self.limit();
        if bytes <= limit {
            return Ok(());
        }
        let node = self.at.map(|id| self.graph.node(id));
        let operator = node.map(|node| node.operator.name().to_owned()).unwrap_or_default();
        Err(PlanError::TooLarge {
            name: name.to_owned(),
            node: node.map(|node| node.name.clone()),
            operator,
            bytes,
            limit,
        })
    }

    pub(super) fn stage(&mut self, order: (usize, u8), stage: Stage) {
        self.order.push(order);
        self.draft.stages.push(stage);
    }

    /// The form of a value in a layout and a storage, uploaded or converted if need be, before the node at `at`.
    pub(super) fn form(
        &mut self,
        id: ValueId,
        layout: Layout,
        storage: Storage,
        at: usize,
    ) -> Result<FormId, PlanError> {
        let shape = self.graph.fact(id).and_then(Fact::concrete).unwrap_or_default();
        let layout = layout.canonical(&shape);
        let fits = |form: &Form| form.layout == layout && form.storage == storage;
        let mut forms = self.on_device.get(&id).into_iter().flatten();
        if let Some(&form) = forms.find(|&&f| fits(&self.draft.forms[f])) {
            return Ok(form);
        }
        if !self.on_device.contains_key(&id) {
            // What is written to a queue arrives before everything that is submitted after it: so an upload stands
            // directly behind the host node that computed the value, never among dispatches that may use its memory.
            let from = self.on_host.get(&id).copied().unwrap_or(0);
            let own = self.own_storage(id)?;
            let form = self.add_form(id, Layout::Linear, own)?;
            self.stage((from, 2), Stage::Upload(form));
            if layout == Layout::Linear && storage == own {
                return Ok(form);
            }
        }
        let from = self.on_device[&id][0];
        let (name, source) = (self.graph.value(id).name.clone(), self.draft.forms[from].clone());
        let to = self.add_form(id, layout, storage)?;
        let dispatch = convert::convert(&source.shape, source.layout, layout, source.storage, storage, self.device)
            .map_err(PlanError::Options)?;
        let run = Run {
            node: None,
            label: format!("{name}: {} to {layout}", source.layout),
            inputs: vec![Some(Source::Form(from))],
            outputs: vec![Target::Form(to)],
            scratch: vec![],
            dispatches: if source.units == 0 { vec![] } else { vec![dispatch] },
            cost: moving(source.units),
            may_overwrite: vec![],
            instead: vec![],
            view_of: None,
            concat: None,
        };
        self.stage((at, 0), Stage::Run(Box::new(run)));
        Ok(to)
    }
}
