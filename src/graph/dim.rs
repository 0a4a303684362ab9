//! Dimensions: numbers, expressions over symbols, or unknown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// One dimension of a value's shape, or one element of a shape that is being computed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A number. Negative ones occur in shapes that are being computed (Reshape's -1), never in a fact's shape.
    Known(i64),
    /// An expression over symbols such as `batch` and `height`.
    Expression(Arc<Expression>),
    /// Nothing is known.
    Unknown,
}

/// Arithmetic over symbols. Made by [`Dim`]'s methods, which fold numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// A symbol, named as in the model.
    Symbol(String),
    /// Sum.
    Add(Dim, Dim),
    /// Product.
    Mul(Dim, Dim),
    /// Quotient, rounded down.
    FloorDiv(Dim, Dim),
    /// Quotient, rounded up.
    CeilDiv(Dim, Dim),
    /// The smaller.
    Min(Dim, Dim),
    /// The larger.
    Max(Dim, Dim),
}

/// What symbols stand for in one plan.
pub type Bindings = BTreeMap<String, i64>;

impl Dim {
    /// A symbol.
    pub fn symbol(name: impl Into<String>) -> Self {
        Self::Expression(Arc::new(Expression::Symbol(name.into())))
    }

    /// The number, if it is one.
    pub const fn known(&self) -> Option<i64> {
        match self {
            Self::Known(n) => Some(*n),
            _ => None,
        }
    }

    /// The number as a size, if it is one that is not negative.
    pub fn size(&self) -> Option<usize> {
        usize::try_from(self.known()?).ok()
    }

    /// The dimension with the symbols that `bindings` names replaced; unbound ones stay.
    #[must_use]
    pub fn bind(&self, bindings: &Bindings) -> Self {
        let Self::Expression(expression) = self else {
            return self.clone();
        };
        match &**expression {
            Expression::Symbol(name) => bindings.get(name).map_or_else(|| self.clone(), |&n| Self::Known(n)),
            Expression::Add(a, b) => a.bind(bindings).add(&b.bind(bindings)),
            Expression::Mul(a, b) => a.bind(bindings).mul(&b.bind(bindings)),
            Expression::FloorDiv(a, b) => a.bind(bindings).floor_div(&b.bind(bindings)),
            Expression::CeilDiv(a, b) => a.bind(bindings).ceil_div(&b.bind(bindings)),
            Expression::Min(a, b) => a.bind(bindings).minimum(&b.bind(bindings)),
            Expression::Max(a, b) => a.bind(bindings).maximum(&b.bind(bindings)),
        }
    }

    /// Every symbol in it.
    pub fn symbols(&self, found: &mut Vec<String>) {
        let Self::Expression(expression) = self else {
            return;
        };
        match &**expression {
            Expression::Symbol(name) => {
                if !found.contains(name) {
                    found.push(name.clone());
                }
            }
            Expression::Add(a, b)
            | Expression::Mul(a, b)
            | Expression::FloorDiv(a, b)
            | Expression::CeilDiv(a, b)
            | Expression::Min(a, b)
            | Expression::Max(a, b) => {
                a.symbols(found);
                b.symbols(found);
            }
        }
    }

    /// The sum. Overflow is unknown.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        // Numbers go to the right and are gathered: (h + 1) + 1 is h + 2.
        match (self, other) {
            (Self::Known(0), d) | (d, Self::Known(0)) => d.clone(),
            (Self::Known(a), Self::Known(b)) => a.checked_add(*b).map_or(Self::Unknown, Self::Known),
            (Self::Known(_), _) => other.add(self),
            (Self::Expression(e), Self::Known(n)) => match &**e {
                Expression::Add(a, Self::Known(m)) => a.add(&m.checked_add(*n).map_or(Self::Unknown, Self::Known)),
                _ => self.with(other, Expression::Add),
            },
            _ => self.with(other, Expression::Add),
        }
    }

    /// The difference.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        if self == other && *self != Self::Unknown {
            return Self::Known(0);
        }
        self.add(&other.mul(&Self::Known(-1)))
    }

    /// The product. Overflow is unknown.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Known(0), _) | (_, Self::Known(0)) => Self::Known(0),
            (Self::Known(1), d) | (d, Self::Known(1)) => d.clone(),
            (Self::Known(a), Self::Known(b)) => a.checked_mul(*b).map_or(Self::Unknown, Self::Known),
            (Self::Known(_), _) => other.mul(self),
            (Self::Expression(e), Self::Known(n)) => match &**e {
                Expression::Mul(a, Self::Known(m)) => a.mul(&m.checked_mul(*n).map_or(Self::Unknown, Self::Known)),
                _ => self.with(other, Expression::Mul),
            },
            _ => self.with(other, Expression::Mul),
        }
    }

    /// The quotient, rounded down; by zero it is unknown.
    #[must_use]
    pub fn floor_div(&self, other: &Self) -> Self {
        match (self, other) {
            (_, Self::Known(0)) => Self::Unknown,
            (d, Self::Known(1)) => d.clone(),
            (Self::Known(a), Self::Known(b)) => floor_div(*a, *b).map_or(Self::Unknown, Self::Known),
            (Self::Expression(e), Self::Known(n)) => match &**e {
                Expression::Mul(a, Self::Known(m)) if m.checked_rem(*n) == Some(0) => a.mul(&Self::Known(m / n)),
                // Halving again and again, as networks do, stays one division.
                Expression::FloorDiv(a, Self::Known(m)) if *m > 0 && *n > 0 => {
                    a.floor_div(&m.checked_mul(*n).map_or(Self::Unknown, Self::Known))
                }
                _ => self.with(other, Expression::FloorDiv),
            },
            _ if self == other && *self != Self::Unknown => Self::Known(1),
            _ => self.with(other, Expression::FloorDiv),
        }
    }

    /// The quotient, rounded up; by zero it is unknown.
    #[must_use]
    pub fn ceil_div(&self, other: &Self) -> Self {
        match (self, other) {
            (_, Self::Known(0)) => Self::Unknown,
            (d, Self::Known(1)) => d.clone(),
            (Self::Known(a), Self::Known(b)) => {
                a.checked_neg().and_then(|a| floor_div(a, *b)).map_or(Self::Unknown, |q| Self::Known(-q))
            }
            (Self::Expression(e), Self::Known(n)) => match &**e {
                Expression::Mul(a, Self::Known(m)) if m.checked_rem(*n) == Some(0) => a.mul(&Self::Known(m / n)),
                _ => self.with(other, Expression::CeilDiv),
            },
            _ => self.with(other, Expression::CeilDiv),
        }
    }

    /// The smaller of two.
    #[must_use]
    pub fn minimum(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => Self::Known(*a.min(b)),
            _ if self == other => self.clone(),
            _ => self.with(other, Expression::Min),
        }
    }

    /// The larger of two.
    #[must_use]
    pub fn maximum(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => Self::Known(*a.max(b)),
            _ if self == other => self.clone(),
            _ => self.with(other, Expression::Max),
        }
    }

    /// The dimension that two broadcast to, or `None` where they are known not to.
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a.clone()),
            (Self::Known(1), d) | (d, Self::Known(1)) => Some(d.clone()),
            (Self::Known(_), Self::Known(_)) => None,
            // One is a number above one: the other can only be 1 or the same.
            (Self::Known(n), _) | (_, Self::Known(n)) => Some(Self::Known(*n)),
            _ => Some(Self::Unknown),
        }
    }

    fn with(&self, other: &Self, make: fn(Self, Self) -> Expression) -> Self {
        if *self == Self::Unknown || *other == Self::Unknown || self.depth() + other.depth() > 32 {
            return Self::Unknown;
        }
        Self::Expression(Arc::new(make(self.clone(), other.clone())))
    }

    /// Nesting, so that a hostile chain of nodes cannot make expressions without end.
    fn depth(&self) -> usize {
        match self {
            Self::Expression(e) => match &**e {
                Expression::Symbol(_) => 1,
                Expression::Add(a, b)
                | Expression::Mul(a, b)
                | Expression::FloorDiv(a, b)
                | Expression::CeilDiv(a, b)
                | Expression::Min(a, b)
                | Expression::Max(a, b) => 1 + a.depth() + b.depth(),
            },
            _ => 0,
        }
    }
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let q = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        i64::try_from(n).map_or(Self::Unknown, Self::Known)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(n) => write!(f, "{n}"),
            Self::Unknown => f.write_str("?"),
            Self::Expression(e) => match &**e {
                Expression::Symbol(name) => f.write_str(name),
                Expression::Add(a, Self::Known(n)) if *n < 0 => {
                    write!(f, "({a} - {})", n.unsigned_abs())
                }
                Expression::Add(a, b) => write!(f, "({a} + {b})"),
                Expression::Mul(a, b) => write!(f, "{a}·{b}"),
                Expression::FloorDiv(a, b) => write!(f, "⌊{a} / {b}⌋"),
                Expression::CeilDiv(a, b) => write!(f, "⌈{a} / {b}⌉"),
                Expression::Min(a, b) => write!(f, "min({a}, {b})"),
                Expression::Max(a, b) => write!(f, "max({a}, {b})"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_fold_and_bind() {
        let h = Dim::symbol("h");
        let out = h.add(&Dim::Known(2)).sub(&Dim::Known(3)).floor_div(&Dim::Known(2)).add(&Dim::Known(1));
        assert_eq!(out.to_string(), "(⌊(h - 1) / 2⌋ + 1)");
        assert_eq!(out.bind(&Bindings::from([("h".into(), 224)])), Dim::Known(112));
        assert_eq!(h.mul(&Dim::Known(4)).floor_div(&Dim::Known(2)).to_string(), "h·2");
        let halved = (0..3).fold(h.clone(), |h, _| h.floor_div(&Dim::Known(2)));
        assert_eq!(halved.to_string(), "⌊h / 8⌋");
        assert_eq!(halved.bind(&Bindings::from([("h".into(), 63)])), Dim::Known(7));
        assert_eq!(Dim::Known(-7).floor_div(&Dim::Known(2)), Dim::Known(-4));
        assert_eq!(Dim::Known(7).ceil_div(&Dim::Known(2)), Dim::Known(4));
        assert_eq!(Dim::Known(i64::MAX).mul(&Dim::Known(2)), Dim::Unknown);
        assert_eq!(Dim::Known(i64::MIN).floor_div(&Dim::Known(-1)), Dim::Unknown);
    }
}
