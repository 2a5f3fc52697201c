//! The two-layer network (HRX section 3): weights that are trained, output signs that are not.

use faer::MatRef;
use rand::RngExt;

use crate::kernels::Panels;
use crate::kernels::Real;
use crate::kernels::descent::Layers;
use crate::random::{Purpose, normal, stream};
use crate::{Error, Result};

/// The group of an input that belongs to no column: every neuron reads it.
pub const ALWAYS: usize = usize::MAX;

/// Sizes of the weights of [`Network::sparse`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseStart {
    /// Standard deviation of the weights of a neuron's columns.
    pub scale: f64,
    /// How many times larger those of the inputs that every neuron reads are.
    pub always: f64,
}

impl SparseStart {
    /// Shares of the neurons that read one column and two columns; the others read three.
    const SHARES: [f64; 2] = [0.2, 0.5];
    /// Small weights, biases spread over the data's range.
    pub const TABLES: Self = Self { scale: 0.1, always: 3.0 };
}

/// `f_i(z) = 1/sqrt(m) sum_r a_ri relu(w_r . z)`: `w` is trained, the signs `a` are drawn once.
#[derive(Debug, Clone, PartialEq)]
pub struct Network<T> {
    pub(super) w: Panels<T>,
    pub(super) a: Panels<T>,
}

impl<T: Real> Network<T> {
    /// Symmetric initialisation: neurons `2r` and `2r + 1` have equal weights `w ~ N(0, I)` and opposite signs, so that the
    /// network is zero at the start.
    ///
    /// # Errors
    /// [`Error::Setting`] if `neurons` is odd or zero, [`Error::Empty`] without inputs or outputs.
    pub fn symmetric(inputs: usize, outputs: usize, neurons: usize, seed: u64) -> Result<Self> {
        if !neurons.is_multiple_of(2) {
            let value = neurons.to_string();
            let requirement = "symmetric initialisation needs an even number of neurons";
            return Err(Error::Setting { name: "the width", value, requirement });
        }
        Self::draw(inputs, outputs, neurons, seed, true)
    }

    /// Independent initialisation: `w ~ N(0, I)` and signs +-1 with equal chances, for every neuron.
    ///
    /// # Errors
    /// [`Error::Empty`] without neurons, inputs or outputs.
    pub fn independent(inputs: usize, outputs: usize, neurons: usize, seed: u64) -> Result<Self> {
        Self::draw(inputs, outputs, neurons, seed, false)
    }

    /// Symmetric initialisation for tables: each pair of neurons reads the inputs of one, two or three columns only.
    ///
    /// `groups` names for each input the column it speaks of, or [`ALWAYS`]. Weights of the inputs of a pair's columns are
    /// `scale N(0, 1)`, those of inputs that every pair reads (the time and the constant) `scale * always N(0, 1)`, all others
    /// zero. Dense unit weights in many dimensions put every kink near the origin of a random direction and hardly move; these
    /// start on functions of few columns with kinks all over the data, and small weights let gradients choose the rest.
    ///
    /// # Errors
    /// [`Error::Setting`] if `neurons` is odd, [`Error::Empty`] without neurons, inputs or outputs.
    pub(crate) fn sparse(
        groups: &[usize],
        outputs: usize,
        neurons: usize,
        start: SparseStart,
        seed: u64,
    ) -> Result<Self> {
        let mut network = Self::symmetric(groups.len(), outputs, neurons, seed)?;
        let mut columns: Vec<usize> = groups.iter().copied().filter(|&group| group != ALWAYS).collect();
        columns.sort_unstable();
        columns.dedup();
        let mut rng = stream(seed, Purpose::Weights);
        rng.jump();
        rng.jump();
        for r in (0..neurons).step_by(2) {
            let place: f64 = rng.random();
            let shares = SparseStart::SHARES;
            let count = if place < shares[0] {
                1
            } else if place < shares[0] + shares[1] {
                2
            } else {
                3
            };
            let mut chosen = [ALWAYS; 3];
            for slot in &mut chosen[..count.min(columns.len())] {
                *slot = columns[rng.random_range(0..columns.len())];
            }
            for (k, &group) in groups.iter().enumerate() {
                let factor = match group {
                    ALWAYS => start.scale * start.always,
                    group if chosen.contains(&group) => start.scale,
                    _ => 0.0,
                };
                for r in [r, r + 1] {
                    network.w.set(r, k, T::from_f64(factor * network.w.get(r, k).to_f64()));
                }
            }
        }
        Ok(network)
    }

    fn draw(inputs: usize, outputs: usize, neurons: usize, seed: u64, paired: bool) -> Result<Self> {
        let counts = [(neurons, "neuron"), (inputs, "input"), (outputs, "output")];
        if let Some((_, unit)) = counts.into_iter().find(|(count, _)| *count == 0) {
            return Err(Error::Empty { what: "the network", unit });
        }
        let (mut w, mut a) = (Panels::<T>::zeros(neurons, inputs), Panels::<T>::zeros(neurons, outputs));
        // Weights and signs have a stream each, so that the weights do not depend on the number of outputs.
        let mut weights = stream(seed, Purpose::Weights);
        let mut signs = weights.clone();
        signs.jump();
        for r in 0..neurons {
            let twin = paired && r % 2 == 1;
            for k in 0..inputs {
                let x = if twin { w.get(r - 1, k) } else { normal(&mut weights) };
                w.set(r, k, x);
            }
            for i in 0..outputs {
                let sign = if twin { -a.get(r - 1, i) } else { if signs.random() { T::ONE } else { -T::ONE } };
                a.set(r, i, sign);
            }
        }
        Ok(Self { w, a })
    }

    /// A network from its weights (m x D) and signs (m x d).
    ///
    /// # Errors
    /// [`Error::Shape`] if their numbers of neurons differ, [`Error::NotFinite`], [`Error::Empty`].
    pub fn from_parts(w: MatRef<'_, T>, a: MatRef<'_, T>) -> Result<Self> {
        Self::from_panels(Panels::from_matrix("the weights", w)?, Panels::from_matrix("the output signs", a)?)
    }

    /// [`Network::from_parts`] from panels.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Empty`].
    pub fn from_panels(w: Panels<T>, a: Panels<T>) -> Result<Self> {
        a.expect_shape("the output signs", w.rows(), a.columns())?;
        if w.rows() == 0 || w.columns() == 0 || a.columns() == 0 {
            return Err(Error::Empty { what: "the network", unit: "neuron, input and output" });
        }
        Ok(Self { w, a })
    }

    /// The trained weights, m x D.
    pub fn w(&self) -> &Panels<T> {
        &self.w
    }

    /// The output signs, m x d.
    pub fn a(&self) -> &Panels<T> {
        &self.a
    }

    /// What the kernels read.
    pub fn layers(&self) -> Layers<'_, T> {
        Layers { w: &self.w, a: &self.a }
    }

    /// Number of inputs D.
    pub fn inputs(&self) -> usize {
        self.w.columns()
    }

    /// Number of outputs d.
    pub fn outputs(&self) -> usize {
        self.a.columns()
    }

    /// Number of neurons m.
    pub fn neurons(&self) -> usize {
        self.w.rows()
    }

    /// The same signs with weights in the order of memory, as [`Panels::values`] gives them.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there are more or fewer of them.
    pub(crate) fn with_values(mut self, values: &[T]) -> Result<Self> {
        if self.w.take_values(values) {
            Ok(self)
        } else {
            Err(Error::Checkpoint("it has a network of another size".into()))
        }
    }

    /// The same signs with other weights, such as an average.
    ///
    /// # Errors
    /// [`Error::Shape`] if the weights have another shape.
    pub fn with_weights(&self, w: &Panels<T>) -> Result<Self> {
        w.expect_shape("the weights", self.neurons(), self.inputs())?;
        Ok(Self { w: w.clone(), a: self.a.clone() })
    }
}
