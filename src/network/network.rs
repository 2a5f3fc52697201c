//! The two-layer network (HRX section 3): weights that are trained, output signs that are not.

use faer::MatRef;
use rand::RngExt;

use crate::kernels::Panels;
use crate::kernels::descent::Layers;
use crate::random::{Purpose, normal, stream};
use crate::simd::Real;
use crate::{Error, Result};

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

    /// The same signs with other weights, such as an average.
    ///
    /// # Errors
    /// [`Error::Shape`] if the weights have another shape.
    pub fn with_weights(&self, w: &Panels<T>) -> Result<Self> {
        w.expect_shape("the weights", self.neurons(), self.inputs())?;
        Ok(Self { w: w.clone(), a: self.a.clone() })
    }
}
