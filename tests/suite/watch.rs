//! An allocator that counts what chosen threads allocate, so that tests which ask for it can run beside any others.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// What the threads of one pool have allocated.
#[derive(Default)]
pub struct Watch {
    allocations: AtomicUsize,
    bytes: AtomicI64,
    peak: AtomicI64,
}

impl Watch {
    pub fn allocations(&self) -> usize {
        self.allocations.load(Ordering::SeqCst)
    }

    /// The most bytes held at once.
    pub fn peak_bytes(&self) -> i64 {
        self.peak.load(Ordering::SeqCst)
    }

    fn record(&self, bytes: i64) {
        let held = self.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        if bytes > 0 {
            self.allocations.fetch_add(1, Ordering::SeqCst);
            self.peak.fetch_max(held, Ordering::SeqCst);
        }
    }
}

/// Runs `work` on a pool of its own and hands it the watch on that pool's threads.
pub fn watched<R: Send>(threads: usize, work: impl FnOnce(&Watch) -> R + Send) -> R {
    // Threads may still free memory while their pool ends, so that the watch is never freed.
    let watch: &'static Watch = Box::leak(Box::default());
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .start_handler(move |_| WATCH.set(Some(watch)))
        .build()
        .unwrap();
    pool.install(|| work(watch))
}

thread_local! {
    // Constant and without a destructor, so that reading it allocates nothing and works until a thread has ended.
    static WATCH: Cell<Option<&'static Watch>> = const { Cell::new(None) };
}

/// The system's allocator, which tells the calling thread's watch.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; what is recorded lives in atomics and a constant thread-local, which
// allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(watch) = WATCH.get() {
            watch.record(layout.size() as i64);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if let Some(watch) = WATCH.get() {
            watch.record(-(layout.size() as i64));
        }
        // SAFETY: `at` came from `alloc` above, thus from the system's allocator, with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(watch) = WATCH.get() {
            watch.record(layout.size() as i64);
        }
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_watch_counts_its_own_threads_only() {
    watched(2, |watch| {
        let (allocations, peak) = (watch.allocations(), watch.peak_bytes());
        std::thread::spawn(|| drop(std::hint::black_box(vec![1u8; 1 << 20]))).join().unwrap();
        assert!(watch.peak_bytes() < peak + (1 << 20), "another thread was counted");
        let before = watch.allocations();
        assert!(before >= allocations);
        drop(std::hint::black_box(vec![1u8; 1 << 20]));
        assert_eq!(watch.allocations() - before, 1);
        assert!(watch.peak_bytes() >= 1 << 20);
    });
}
