//! `f32` and `f64` behind one sealed trait, and the kernels that are compiled for them in this crate.
//!
//! The public functions of the kernels are generic and a line long: they call the method of [`Instances`] that is theirs, which is
//! not generic. So each kernel is compiled twice, here, and a program that calls it compiles none.

use std::ops::Range;

use faer::{MatMut, MatRef, Par};

use super::descent::{BackwardInputs, Layers, Optimizer, Step, Workspace};
use super::gram::arccos::ArcCosine;
use super::gram::owned::GramMatrix;
use super::gram::product::{KernelProduct, ProductWorkspace};
use super::patterns::ActivationPatterns;
use super::tangent::{self, Drift, TangentKernel};
use super::{Panels, descent, gram, patterns};
use crate::Result;
use crate::simd::{Level, Popcount};

/// The floating-point types the kernels are compiled for: `f32` and `f64`. No other type can implement it.
pub trait Real: ArcCosine + Instances {}

impl Real for f32 {}
impl Real for f64 {}

/// Declares [`Instances`], and implements it by the generic functions named behind each method.
macro_rules! instances {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $output:ty = $function:path;)*) => {
        /// One method for each kernel, see the module.
        pub trait Instances: Sized {
            $(
                #[doc(hidden)]
                fn $name($($argument: $type),*) -> $output;
            )*
        }

        impl Instances for f32 {
            $(#[inline(never)]
            fn $name($($argument: $type),*) -> $output {
                $function($($argument),*)
            })*
        }

        impl Instances for f64 {
            $(#[inline(never)]
            fn $name($($argument: $type),*) -> $output {
                $function($($argument),*)
            })*
        }
    };
}

instances! {
    fn gram(level: Level, out: MatMut<'_, Self>, z: MatRef<'_, Self>, par: Par) -> Result<()> = gram::dense::both;
    fn gram_lower(level: Level, out: MatMut<'_, Self>, z: MatRef<'_, Self>, par: Par) -> Result<()> = gram::dense::lower;
    fn gram_rows(
        level: Level,
        out: MatMut<'_, Self>,
        z: MatRef<'_, Self>,
        rows: Range<usize>,
        par: Par,
    ) -> Result<()> = gram::dense::rows;
    fn cross_gram(
        level: Level,
        out: MatMut<'_, Self>,
        z1: MatRef<'_, Self>,
        z2: MatRef<'_, Self>,
        par: Par,
    ) -> Result<()> = gram::dense::cross;
    fn owned_gram(level: Level, z: MatRef<'_, Self>, par: Par) -> Result<GramMatrix<Self>> = gram::owned::owned;
    fn symmetric_product(level: Level, z: MatRef<'_, Self>) -> Result<KernelProduct<Self>> = gram::product::symmetric;
    fn cross_product(
        level: Level,
        z1: MatRef<'_, Self>,
        z2: MatRef<'_, Self>,
    ) -> Result<KernelProduct<Self>> = gram::product::cross;
    fn apply_kernel(
        kernel: &KernelProduct<Self>,
        out: MatMut<'_, Self>,
        v: MatRef<'_, Self>,
        workspace: &mut ProductWorkspace<Self>,
    ) -> Result<()> = gram::product::apply;
    fn apply_kernel_rows(
        kernel: &KernelProduct<Self>,
        out: MatMut<'_, Self>,
        v: MatRef<'_, Self>,
        rows: Range<usize>,
        workspace: &mut ProductWorkspace<Self>,
    ) -> Result<()> = gram::product::apply_rows;
    fn row_norms(out: &mut [Self], z: MatRef<'_, Self>) -> Result<()> = gram::samples::row_norms;
    fn diagonal(out: &mut [Self], z: MatRef<'_, Self>) -> Result<()> = gram::samples::diagonal;
    fn patterns(
        level: Level,
        patterns: &mut ActivationPatterns,
        w: &Panels<Self>,
        z: &Panels<Self>,
        par: Par,
    ) -> Result<()> = patterns::pack::pack;
    fn forward(
        level: Level,
        outputs: &mut Panels<Self>,
        patterns: Option<&mut ActivationPatterns>,
        layers: Layers<'_, Self>,
        z: &Panels<Self>,
        workspaces: &mut [Workspace<Self>],
    ) -> Result<()> = descent::forward::forward;
    fn gradient(
        level: Level,
        gradient: &mut Panels<Self>,
        inputs: BackwardInputs<'_, Self>,
        workspaces: &mut [Workspace<Self>],
    ) -> Result<()> = descent::backward::gradient;
    fn update(
        level: Level,
        w: &mut Panels<Self>,
        optimizer: &mut Optimizer<Self>,
        step: Step,
        inputs: BackwardInputs<'_, Self>,
        workspaces: &mut [Workspace<Self>],
    ) -> Result<()> = descent::backward::update_weights;
    fn tangent_block(
        count: Popcount,
        out: MatMut<'_, Self>,
        outputs: (usize, usize),
        kernel: TangentKernel<'_, Self>,
        workspace: &mut tangent::Workspace<Self>,
        par: Par,
    ) -> Result<()> = tangent::block::block;
    fn full_tangent(
        count: Popcount,
        out: MatMut<'_, Self>,
        kernel: TangentKernel<'_, Self>,
        workspace: &mut tangent::Workspace<Self>,
        par: Par,
    ) -> Result<()> = tangent::full::full;
    fn tangent_product(
        level: Level,
        out: &mut Panels<Self>,
        v: &Panels<Self>,
        kernel: TangentKernel<'_, Self>,
        workspace: &mut tangent::ProductWorkspace<Self>,
        par: Par,
    ) -> Result<()> = tangent::product::product;
    fn tangent_drift(
        count: Popcount,
        now: &ActivationPatterns,
        start: &ActivationPatterns,
        a: &Panels<Self>,
        z: &Panels<Self>,
        par: Par,
    ) -> Result<Drift> = tangent::drift::kernel_drift;
}
