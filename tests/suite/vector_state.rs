//! The upper halves of the vector registers are not in use after public functions return: on Intel processors every SSE instruction
//! of the caller, and of the C library that it calls, would be slow for it.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

use faer::{Mat, Par};
use ntk_score::kernels::Panels;
use ntk_score::kernels::descent::{Layers, Workspace, forward_with};
use ntk_score::kernels::gram::{KernelProduct, ProductWorkspace, gram, gram_with};
use ntk_score::kernels::patterns::{ActivationPatterns, patterns_with};
use ntk_score::kernels::tangent::{self, Features, TangentKernel, block_with, full_with};
use ntk_score::regression::closed_form::ClosedForm;
use ntk_score::simd::{Level, Popcount};

/// The components of the vector state that hold the upper halves of registers 0 to 15: of 256-bit and of 512-bit registers. The
/// masks and registers 16 to 31 (bits 5 and 7) slow nothing down, and the C library itself leaves them in use.
const UPPER_HALVES: u32 = 1 << 2 | 1 << 6;

/// Whether XGETBV with ECX = 1 tells which components of the vector state are in use.
fn tells() -> bool {
    // The functions became safe after Rust 1.89.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID; a leaf beyond its largest gives no bits that are taken for these.
    let (features, extended) = unsafe { (__cpuid_count(1, 0).ecx, __cpuid_count(0xd, 1).eax) };
    let (xsave, xgetbv_1) = (features >> 27 & 1 == 1, extended >> 2 & 1 == 1);
    xsave && xgetbv_1 && std::arch::is_x86_feature_detected!("avx")
}

fn in_use() -> u32 {
    let low: u32;
    // SAFETY: the processor has the instruction and the system lets programs use it, see `tells`.
    unsafe { asm!("xgetbv", in("ecx") 1, out("eax") low, out("edx") _, options(nomem, nostack)) };
    low & UPPER_HALVES
}

/// Runs `call` from a clean state and holds the state that it leaves against zero.
fn check<R>(what: &str, call: impl FnOnce() -> R) -> R {
    // SAFETY: the processor has AVX; no vector lives across this.
    unsafe { asm!("vzeroupper", out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, options(nomem, nostack)) };
    assert_eq!(in_use(), 0, "the state is not clean to begin with");
    let result = call();
    let left = in_use();
    assert_eq!(left, 0, "{what} leaves upper halves of vector registers in use (components {left:#b})");
    result
}

fn numbers(rows: usize, columns: usize) -> Mat<f64> {
    Mat::from_fn(rows, columns, |i, j| ((i * 7 + j * 13 + 5) % 31) as f64 / 31.0 - 0.4 + 1e-3 * i as f64)
}

#[test]
fn the_test_sees_a_register_in_use() {
    if tells() {
        let before: u32;
        // SAFETY: the processor has AVX, and the register is restored before it returns to code that does not know.
        unsafe {
            asm!(
                "vpcmpeqd xmm0, xmm0, xmm0", "vinsertf128 ymm0, ymm0, xmm0, 1", "xgetbv", "vzeroupper",
                in("ecx") 1, out("eax") before, out("edx") _, out("xmm0") _, options(nomem, nostack)
            );
        }
        assert_ne!(before & UPPER_HALVES, 0);
    }
}

#[test]
fn kernels_leave_no_upper_half_in_use() {
    if !tells() {
        return;
    }
    let (z, w, a) = (numbers(150, 5), numbers(200, 5), Mat::from_fn(200, 3, |r, i| [1.0, -1.0][(r * r + i) % 2]));
    let panels = |m: &Mat<f64>| Panels::from_matrix("m", m.as_ref()).unwrap();
    let (zp, wp, ap) = (panels(&z), panels(&w), panels(&a));
    let mut out = Mat::<f64>::zeros(150, 150);
    for level in Level::available() {
        check("the Gram matrix", || gram_with(level, out.as_mut(), z.as_ref(), Par::Seq).unwrap());
        let product = check("preparing a product", || KernelProduct::symmetric(level, z.as_ref()).unwrap());
        let (v, mut kv, mut workspace) = (numbers(150, 4), Mat::zeros(150, 4), ProductWorkspace::new(Par::Seq));
        check("a product", || product.apply_into(kv.as_mut(), v.as_ref(), &mut workspace).unwrap());
        let mut patterns = ActivationPatterns::zeros(0, 0);
        check("packing", || patterns_with(level, &mut patterns, &wp, &zp, Par::Seq).unwrap());
        let (mut u, mut buffers) = (Panels::zeros(150, 3), Workspace::for_workers(1, 5, 3));
        let layers = Layers { w: &wp, a: &ap };
        check("the forward pass", || {
            forward_with(level, &mut u, Some(&mut patterns), layers, &zp, &mut buffers).unwrap();
        });
        check("counting", || patterns.count_neurons());
        let (count, samples) = (Popcount::at(level), Features { patterns: &patterns, z: &zp });
        let mut buffers = tangent::Workspace::new();
        check("a block", || {
            block_with(count, out.as_mut(), (0, 1), TangentKernel::symmetric(&ap, samples), &mut buffers, Par::Seq)
                .unwrap();
        });
        let mut full = Mat::<f64>::zeros(450, 450);
        check("all blocks", || {
            full_with(count, full.as_mut(), TangentKernel::symmetric(&ap, samples), &mut buffers, Par::Seq).unwrap();
        });
    }
}

#[test]
fn what_calls_faer_leaves_no_upper_half_in_use() {
    if !tells() {
        return;
    }
    let (z, labels) = (numbers(150, 5), numbers(150, 3));
    let kernel = gram(z.as_ref(), Par::Seq).unwrap();
    let closed = check("the closed form", || ClosedForm::new(kernel.as_ref(), labels.as_ref(), Par::Seq).unwrap());
    check("its coefficients", || closed.coefficients(0.01, 10));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        let closed = ClosedForm::new(kernel.as_ref(), labels.as_ref(), Par::rayon(2)).unwrap();
        closed.coefficients(0.01, 10);
        let left: Vec<u32> = rayon::broadcast(|_| in_use());
        assert_eq!(left, [0, 0], "a worker of the pool is left with upper halves in use");
    });
}
