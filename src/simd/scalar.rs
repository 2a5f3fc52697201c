//! `f32` and `f64` and what the kernels do with their vectors, under the same names, so that each kernel has one source.

use super::Lanes;

/// `f32` or `f64`: a floating-point type whose vectors every level has.
pub trait Scalar:
    Copy
    + Default
    + Send
    + Sync
    + PartialOrd
    + std::fmt::Debug
    + std::fmt::Display
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
    + std::ops::MulAssign
    + faer::traits::RealField
    + 'static
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The largest finite value.
    const LARGEST: Self;
    /// "f32" or "f64".
    const NAME: &'static str;

    /// Rounds to this type.
    fn from_f64(x: f64) -> Self;
    /// Widens, exactly.
    fn to_f64(self) -> f64;
    /// Neither infinite nor NaN.
    fn finite(self) -> bool;

    /// One vector of a level.
    type Vector<S: Lanes>: Copy;
    /// The outcome of comparing two vectors.
    type Mask<S: Lanes>: Copy;

    /// The number of lanes in one vector.
    fn lanes<S: Lanes>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }

    /// One value in every lane.
    fn vsplat<S: Lanes>(s: S, x: Self) -> Self::Vector<S>;
    /// Reads one vector; any alignment.
    ///
    /// # Safety
    /// - `from` is valid for reading one vector.
    unsafe fn vload<S: Lanes>(s: S, from: *const Self) -> Self::Vector<S>;
    /// Writes one vector; any alignment.
    ///
    /// # Safety
    /// - `to` is valid for writing one vector.
    unsafe fn vstore<S: Lanes>(s: S, to: *mut Self, v: Self::Vector<S>);
    /// Writes one vector past the caches.
    ///
    /// # Safety
    /// - As for [`Lanes::stream_f32`]: room for one vector, aligned to its size, and a [`Lanes::fence`] afterwards.
    unsafe fn vstream<S: Lanes>(s: S, to: *mut Self, v: Self::Vector<S>);
    /// `to[lane] = scale[lane] * counts[lane]` for signed counts.
    ///
    /// # Safety
    /// - As for [`Lanes::scale_counts_f32`].
    unsafe fn vscale_counts<S: Lanes>(s: S, counts: S::u32s, scale: *const Self, to: *mut Self);
    /// `a + b`.
    fn vadd<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a - b`.
    fn vsub<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a * b`.
    fn vmul<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a / b`.
    fn vdiv<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a * b + c`, rounded once where [`Lanes::FUSED`].
    fn vmul_add<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// `c - a * b`, rounded once where [`Lanes::FUSED`].
    fn vneg_mul_add<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// Absolute value.
    fn vabs<S: Lanes>(s: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// Larger of the two; for finite input.
    fn vmax<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// Smaller of the two; for finite input.
    fn vmin<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// Square root.
    fn vsqrt<S: Lanes>(s: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// `a >= b` per lane; false where either is NaN.
    fn vge<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// `a < b` per lane; false where either is NaN.
    fn vlt<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// `yes` where the mask is set, else `no`.
    fn vselect<S: Lanes>(s: S, m: Self::Mask<S>, yes: Self::Vector<S>, no: Self::Vector<S>) -> Self::Vector<S>;
    /// The mask as bits: bit `i` is lane `i`.
    fn vbits<S: Lanes>(s: S, m: Self::Mask<S>) -> u64;
    /// Zeroes the lanes whose bit is clear; bits beyond the lanes are ignored.
    fn vkeep<S: Lanes>(s: S, bits: u64, v: Self::Vector<S>) -> Self::Vector<S>;
    /// Transposes the square whose rows are the given vectors, as many as there are lanes.
    ///
    /// # Panics
    /// If the number of rows is not the number of lanes.
    fn vtranspose<S: Lanes>(s: S, rows: &mut [Self::Vector<S>]);
}

/// Implements [`Scalar`] for a type by the methods of [`Lanes`] that are named.
macro_rules! scalar {
    ($t:ident {
        vector: $vector:ident,
        mask: $mask:ident,
        bits: $bits:ident,
        keep: $keep:ident,
        stream: $stream:ident,
        scale_counts: $scale_counts:ident,
        splat: $splat:ident,
        add: $add:ident,
        sub: $sub:ident,
        mul: $mul:ident,
        div: $div:ident,
        fma: $fma:ident,
        abs: $abs:ident,
        max: $max:ident,
        min: $min:ident,
        sqrt: $sqrt:ident,
        ge: $ge:ident,
        lt: $lt:ident,
        select: $select:ident,
        neg: $neg:ident,
        transpose: $transpose:ident,
    }) => {
        impl Scalar for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LARGEST: Self = Self::MAX;
            const NAME: &'static str = stringify!($t);

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn finite(self) -> bool {
                self.is_finite()
            }

            type Vector<S: Lanes> = S::$vector;
            type Mask<S: Lanes> = S::$mask;

            #[inline(always)]
            fn vsplat<S: Lanes>(s: S, x: Self) -> Self::Vector<S> {
                s.$splat(x)
            }
            #[inline(always)]
            unsafe fn vload<S: Lanes>(_: S, from: *const Self) -> Self::Vector<S> {
                // SAFETY: the caller gives one readable vector, and every bit pattern is a vector.
                unsafe { from.cast::<Self::Vector<S>>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn vstore<S: Lanes>(_: S, to: *mut Self, v: Self::Vector<S>) {
                // SAFETY: the caller gives room for one vector.
                unsafe { to.cast::<Self::Vector<S>>().write_unaligned(v) }
            }
            #[inline(always)]
            unsafe fn vstream<S: Lanes>(s: S, to: *mut Self, v: Self::Vector<S>) {
                // SAFETY: the caller keeps the contract of the function called, which is this one's.
                unsafe { s.$stream(to, v) }
            }
            #[inline(always)]
            unsafe fn vscale_counts<S: Lanes>(s: S, counts: S::u32s, scale: *const Self, to: *mut Self) {
                // SAFETY: the caller keeps the contract of the function called, which is this one's.
                unsafe { s.$scale_counts(counts, scale, to) }
            }
            #[inline(always)]
            fn vadd<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S> {
                s.$add(a, b)
            }
            #[inline(always)]
            fn vsub<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S> {
                s.$sub(a, b)
            }
            #[inline(always)]
            fn vmul<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S> {
                s.$mul(a, b)
            }
            #[inline(always)]
            fn vdiv<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S> {
                s.$div(a, b)
            }
            #[inline(always)]
            fn vmul_add<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S> {
                if S::FUSED { s.$fma(a, b, c) } else { s.$add(s.$mul(a, b), c) }
            }
            #[inline(always)]
            fn vneg_mul_add<S: Lanes>(
                s: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
                c: Self::Vector<S>,
            ) -> Self::Vector<S> {
                if S::FUSED { s.$fma(s.$neg(a), b, c) } else { s.$sub(c, s.$mul(a, b)) }
            }
            #[inline(always)]
            fn vabs<S: Lanes>(s: S, a: Self::Vector<S>) -> Self::Vector<S> {
                s.$abs(a)
            }
            #[inline(always)]
            fn vmax<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S> {
                s.$max(a, b)
            }
            #[inline(always)]
            fn vmin<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S> {
                s.$min(a, b)
            }
            #[inline(always)]
            fn vsqrt<S: Lanes>(s: S, a: Self::Vector<S>) -> Self::Vector<S> {
                s.$sqrt(a)
            }
            #[inline(always)]
            fn vge<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S> {
                s.$ge(a, b)
            }
            #[inline(always)]
            fn vlt<S: Lanes>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S> {
                s.$lt(a, b)
            }
            #[inline(always)]
            fn vselect<S: Lanes>(s: S, m: Self::Mask<S>, yes: Self::Vector<S>, no: Self::Vector<S>) -> Self::Vector<S> {
                s.$select(m, yes, no)
            }
            #[inline(always)]
            fn vbits<S: Lanes>(s: S, m: Self::Mask<S>) -> u64 {
                s.$bits(m)
            }
            #[inline(always)]
            fn vkeep<S: Lanes>(s: S, bits: u64, v: Self::Vector<S>) -> Self::Vector<S> {
                s.$keep(bits, v)
            }
            #[inline(always)]
            fn vtranspose<S: Lanes>(s: S, rows: &mut [Self::Vector<S>]) {
                s.$transpose(rows)
            }
        }
    };
}

scalar!(f32 {
    vector: f32s,
    mask: m32s,
    bits: bits_m32,
    keep: keep_f32,
    stream: stream_f32,
    scale_counts: scale_counts_f32,
    splat: splat_f32s,
    add: add_f32s,
    sub: sub_f32s,
    mul: mul_f32s,
    div: div_f32s,
    fma: mul_add_e_f32s,
    abs: abs_f32s,
    max: max_f32s,
    min: min_f32s,
    sqrt: sqrt_f32s,
    ge: greater_than_or_equal_f32s,
    lt: less_than_f32s,
    select: select_f32s,
    neg: neg_f32s,
    transpose: transpose_f32,
});

scalar!(f64 {
    vector: f64s,
    mask: m64s,
    bits: bits_m64,
    keep: keep_f64,
    stream: stream_f64,
    scale_counts: scale_counts_f64,
    splat: splat_f64s,
    add: add_f64s,
    sub: sub_f64s,
    mul: mul_f64s,
    div: div_f64s,
    fma: mul_add_e_f64s,
    abs: abs_f64s,
    max: max_f64s,
    min: min_f64s,
    sqrt: sqrt_f64s,
    ge: greater_than_or_equal_f64s,
    lt: less_than_f64s,
    select: select_f64s,
    neg: neg_f64s,
    transpose: transpose_f64,
});
