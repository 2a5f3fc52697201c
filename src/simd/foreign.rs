//! Calls into code of others that leaves the upper halves of vector registers in use.
//!
//! On x86-64 an SSE instruction keeps the upper part of the register it writes. While some upper part is in use, Intel processors
//! therefore wait for the old value of the register before each SSE instruction, and every loop of the C library's mathematics takes
//! several times as long. The calling convention asks each function to end with `vzeroupper`, which the compiler sees to. The
//! matrix product of faer 0.24 is assembly (crate `private-gemm-x86`, `global_asm!`) and does not, nor does what is built on it:
//! factorisations and eigenvalues. So every call into faer's numerical routines goes through [`foreign`].

use faer::Par;

/// Runs `call`, and then clears the upper halves of the vector registers on every thread that may have worked for it: on this one, and
/// if `par` gives work to a pool, on all of the pool's.
pub(crate) fn foreign<R>(par: Par, call: impl FnOnce() -> R) -> R {
    let result = call();
    clear();
    if par.degree() > 1 {
        rayon::broadcast(|_| clear());
    }
    result
}

/// Clears the upper halves of the vector registers, where there are any.
#[inline]
fn clear() {
    #[cfg(target_arch = "x86_64")]
    {
        /// The instruction in a function of its own, because only one compiled for AVX may hold it.
        #[target_feature(enable = "avx")]
        fn zero_upper() {
            std::arch::x86_64::_mm256_zeroupper();
        }
        if std::arch::is_x86_feature_detected!("avx") {
            // SAFETY: the processor has AVX.
            unsafe { zero_upper() };
        }
    }
}
