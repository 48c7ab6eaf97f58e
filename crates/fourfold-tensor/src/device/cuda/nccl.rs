//! Sums between GPUs by NCCL, NVIDIA's library, where it is there.
//!
//! Ranks meet without blocking: every call returns at once, and what is not yet done is asked for until it is. So the thread
//! that watches can end all of it (`ncclCommAbort`) when a rank has failed, and nobody waits for one that is gone, neither
//! here nor on the GPU. Every algorithm of NCCL sums a number in one place and passes on what it got: all ranks have the
//! same bits.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use cudarc::driver::result;
use cudarc::driver::sys as cuda;
use cudarc::nccl::sys;

use super::super::collective::{HostCollective, Operation};
use super::super::driver::{Address, Peers};
use super::beside::event;
use super::{lock, text};
use crate::{Result, TensorError};

/// An environment variable with the library, or the folder that has it; `off` for none.
const VARIABLE: &str = "FOURFOLD_NCCL";

const NAME: &str = "libnccl.so.2";

/// The oldest version that has what is used: meeting without blocking since 2.14, `ncclConfig_t` as it is here since 2.18.
const OLDEST: c_int = 21_800;

/// The version whose `ncclConfig_t` is filled in; newer libraries read it by that number.
const CONFIG_VERSION: c_uint = 22_200;
const CONFIG_MAGIC: c_uint = 0xcafe_beef;

/// `ncclSuccess` and `ncclInProgress`.
const SUCCESS: Status = 0;
const IN_PROGRESS: Status = 7;

/// How often it is looked whether a rank has failed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long to sleep before asking again for what is not yet done.
const ASK_EVERY: Duration = Duration::from_micros(50);

/// An `ncclResult_t`: as a number, since newer libraries may know more of them.
type Status = c_uint;

/// Names functions of the library with their types, and holds these to those that cudarc has.
macro_rules! functions {
    ($($name:ident: $symbol:ident($($argument:ty),*);)*) => {
        /// The functions of the library that are used.
        pub(super) struct Library {
            $($name: unsafe extern "C" fn($($argument),*) -> Status,)*
            describe: unsafe extern "C" fn(Status) -> *const c_char,
            last_error: unsafe extern "C" fn(sys::ncclComm_t) -> *const c_char,
            /// Kept for as long as the functions are.
            _library: libloading::Library,
        }

        const _: () = {
            $(let _: unsafe fn($($argument),*) -> sys::ncclResult_t = sys::$symbol;)*
            let _: unsafe fn(sys::ncclResult_t) -> *const c_char = sys::ncclGetErrorString;
            let _: unsafe fn(sys::ncclComm_t) -> *const c_char = sys::ncclGetLastError;
            assert!(size_of::<sys::ncclResult_t>() == size_of::<Status>());
            assert!(sys::ncclResult_t::ncclSuccess as Status == SUCCESS);
            assert!(sys::ncclResult_t::ncclInProgress as Status == IN_PROGRESS);
        };

        impl Library {
            /// # Safety
            /// The file is NCCL's library.
            unsafe fn load(file: &std::path::Path) -> std::result::Result<Self, libloading::Error> {
                // SAFETY: the library has these functions with these types, which cudarc made of its header.
                unsafe {
                    let library = libloading::Library::new(file)?;
                    Ok(Self {
                        $($name: *library.get(concat!(stringify!($symbol), "\0").as_bytes())?,)*
                        describe: *library.get(b"ncclGetErrorString\0")?,
                        last_error: *library.get(b"ncclGetLastError\0")?,
                        _library: library,
                    })
                }
            }
        }
    };
}

functions! {
    get_version: ncclGetVersion(*mut c_int);
    unique_id: ncclGetUniqueId(*mut sys::ncclUniqueId);
    init: ncclCommInitRankConfig(*mut sys::ncclComm_t, c_int, sys::ncclUniqueId, c_int, *mut sys::ncclConfig_t);
    abort: ncclCommAbort(sys::ncclComm_t);
    state: ncclCommGetAsyncError(sys::ncclComm_t, *mut sys::ncclResult_t);
    group_start: ncclGroupStart();
    group_end: ncclGroupEnd();
    all_reduce: ncclAllReduce(
        *const c_void, *mut c_void, usize, sys::ncclDataType_t, sys::ncclRedOp_t, sys::ncclComm_t, sys::cudaStream_t
    );
    reduce_scatter: ncclReduceScatter(
        *const c_void, *mut c_void, usize, sys::ncclDataType_t, sys::ncclRedOp_t, sys::ncclComm_t, sys::cudaStream_t
    );
    all_gather: ncclAllGather(
        *const c_void, *mut c_void, usize, sys::ncclDataType_t, sys::ncclComm_t, sys::cudaStream_t
    );
    broadcast: ncclBroadcast(
        *const c_void, *mut c_void, usize, sys::ncclDataType_t, c_int, sys::ncclComm_t, sys::cudaStream_t
    );
    reduce: ncclReduce(
        *const c_void, *mut c_void, usize, sys::ncclDataType_t, sys::ncclRedOp_t, c_int, sys::ncclComm_t,
        sys::cudaStream_t
    );
}

impl Library {
    /// The library, looked for once.
    pub(super) fn get() -> std::result::Result<&'static Self, String> {
        static FOUND: OnceLock<std::result::Result<Library, String>> = OnceLock::new();
        FOUND
            .get_or_init(Self::find)
            .as_ref()
            .map_err(String::clone)
    }

    fn find() -> std::result::Result<Self, String> {
        let asked = std::env::var_os(VARIABLE).filter(|asked| !asked.is_empty());
        if asked.as_ref().is_some_and(|asked| asked == "off") {
            return Err(format!("{VARIABLE} is off"));
        }
        let file = match asked.as_ref().map(PathBuf::from) {
            Some(asked) if asked.is_dir() => asked.join(NAME),
            Some(asked) => asked,
            None => PathBuf::from(NAME),
        };
        // SAFETY: the file is NVIDIA's library by its name.
        let loaded = unsafe { Self::load(&file) };
        let library = loaded.map_err(|problem| match asked {
            Some(asked) => format!("{VARIABLE} is {}: {problem}", asked.display()),
            None => format!(
                "NCCL, {NAME}, was not found. It is the Python package nvidia-nccl-cu12 (pip install --target DIR \
                 nvidia-nccl-cu12): then set {VARIABLE} to DIR/nvidia/nccl/lib"
            ),
        })?;
        if library.number()? < OLDEST {
            return Err(format!(
                "NCCL is {}; expected 2.18 or newer: install the Python package nvidia-nccl-cu12 and let {VARIABLE} name \
                 its folder nvidia/nccl/lib",
                library.version()?
            ));
        }
        Ok(library)
    }

    /// Its version as a number: 22703.
    fn number(&self) -> std::result::Result<c_int, String> {
        let mut number = 0;
        // SAFETY: the number is written.
        self.check("version", null_mut(), unsafe {
            (self.get_version)(&mut number)
        })?;
        Ok(number)
    }

    /// Its version: 2.27.3.
    pub(super) fn version(&self) -> std::result::Result<String, String> {
        let number = self.number()?;
        let (major, minor, patch) = (number / 10_000, number / 100 % 100, number % 100);
        Ok(format!("{major}.{minor}.{patch}"))
    }

    /// An error for every status but that of success and of what is not done yet. `comm` lives, or is null.
    fn check(
        &self,
        what: &str,
        comm: sys::ncclComm_t,
        status: Status,
    ) -> std::result::Result<(), String> {
        if status == SUCCESS || status == IN_PROGRESS {
            return Ok(());
        }
        // SAFETY: both give texts that end in zero or nothing; they are read before another call can change them.
        let (kind, last) = unsafe {
            (
                c_text((self.describe)(status)),
                c_text((self.last_error)(comm)),
            )
        };
        let last = if last.is_empty() {
            last
        } else {
            format!(" ({last})")
        };
        Err(format!(
            "NCCL: {what}: {kind}{last}; NCCL_DEBUG=INFO says more, and {VARIABLE}=off sums through the host's memory"
        ))
    }
}

/// # Safety
/// A text that ends in zero, or null.
unsafe fn c_text(text: *const c_char) -> String {
    match text.is_null() {
        true => String::new(),
        // SAFETY: as this function demands.
        false => unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .trim()
            .to_owned(),
    }
}

/// A new id under which ranks meet.
pub(super) fn id() -> std::result::Result<Vec<u8>, String> {
    let library = Library::get()?;
    let mut id = sys::ncclUniqueId { internal: [0; 128] };
    // SAFETY: the id is written.
    library.check("id", null_mut(), unsafe { (library.unique_id)(&mut id) })?;
    Ok(id.internal.map(|byte| byte as u8).to_vec())
}

/// One GPU among those of all ranks.
pub(super) struct Nccl {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    library: &'static Library,
    number: usize,
    context: cuda::CUcontext,
    /// What else the GPU does.
    compute: cuda::CUstream,
    stream: cuda::CUstream,
    /// Recorded on one stream for the other to wait for.
    event: Mutex<cuda::CUevent>,
    host: Arc<dyn HostCollective>,
    comm: Mutex<Comm>,
    /// Tells the thread that watches to end.
    over: AtomicBool,
}

// SAFETY: handles of the driver may be used from any thread in which the context is current, which `enter` sees to; the
// communicator and the event are behind locks.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

enum Comm {
    /// Alive.
    Met(sys::ncclComm_t),
    /// Ended, and why.
    Ended(String),
}

impl Nccl {
    /// Meets the other ranks under `id`.
    ///
    /// # Safety
    /// `compute` is of `context`, that of GPU `number`; both live longer than this.
    pub(super) unsafe fn meet(
        number: usize,
        context: cuda::CUcontext,
        compute: cuda::CUstream,
        host: Arc<dyn HostCollective>,
        id: &[u8],
    ) -> Result<Self> {
        let refuse = |problem: String| TensorError::device(format!("cuda:{number}"), problem);
        let library = Library::get().map_err(refuse)?;
        let mut unique = sys::ncclUniqueId { internal: [0; 128] };
        if id.len() != unique.internal.len() {
            return Err(refuse(format!(
                "NCCL: an id of {} bytes; expected 128",
                id.len()
            )));
        }
        for (to, from) in unique.internal.iter_mut().zip(id) {
            *to = *from as c_char;
        }
        // SAFETY: the context lives, as this function demands.
        let entered = unsafe { result::ctx::set_current(context) };
        let made = entered.and_then(|()| {
            let stream = result::stream::create(result::stream::StreamKind::NonBlocking)?;
            Ok((stream, event()?))
        });
        let (stream, event) = made.map_err(|error| refuse(text(error)))?;
        let unset = c_int::MIN;
        let mut config = sys::ncclConfig_t {
            size: size_of::<sys::ncclConfig_t>(),
            magic: CONFIG_MAGIC,
            version: CONFIG_VERSION,
            blocking: 0,
            cgaClusterSize: unset,
            minCTAs: unset,
            maxCTAs: unset,
            netName: std::ptr::null(),
            splitShare: unset,
        };
        let (ranks, rank) = (host.ranks() as c_int, host.rank() as c_int);
        let mut comm = null_mut();
        // SAFETY: the communicator is written before the call returns, the configuration is read by then. The context
        // that is current is that of the GPU that the communicator is to be of.
        let begun = unsafe { (library.init)(&mut comm, ranks, unique, rank, &mut config) };
        let failed = library
            .check("meeting the other ranks", null_mut(), begun)
            .err();
        let shared = Arc::new(Shared {
            library,
            number,
            context,
            compute,
            stream,
            event: Mutex::new(event),
            host,
            comm: Mutex::new(match (failed, comm.is_null()) {
                (None, false) => Comm::Met(comm),
                (failed, _) => {
                    Comm::Ended(failed.unwrap_or_else(|| "NCCL did not begin".to_owned()))
                }
            }),
            over: AtomicBool::new(false),
        });
        let watched = Arc::clone(&shared);
        let work = move || watched.watch();
        let thread = std::thread::Builder::new().name("nccl".into()).spawn(work);
        let thread = thread.map_err(|problem| {
            shared.end("no thread".to_owned());
            refuse(format!(
                "cannot start the thread that watches NCCL: {problem}"
            ))
        })?;
        let met = Self {
            shared,
            thread: Some(thread),
        };
        met.shared.finish("meeting the other ranks")?;
        Ok(met)
    }
}

impl Shared {
    /// Makes the context current in this thread.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context lives longer than this (`Nccl::meet`).
        let entered = unsafe { result::ctx::set_current(self.context) };
        entered.map_err(|error| self.error(text(error)))
    }

    fn error(&self, message: impl Into<String>) -> TensorError {
        TensorError::device(format!("cuda:{}", self.number), message)
    }

    /// The communicator, which lives while the guard does.
    fn comm(&self) -> Result<(sys::ncclComm_t, MutexGuard<'_, Comm>)> {
        let guard = lock(&self.comm);
        let comm = match &*guard {
            Comm::Met(comm) => *comm,
            Comm::Ended(why) => {
                let why = self.host.check().err().unwrap_or_else(|| why.clone());
                return Err(TensorError::Together { message: why });
            }
        };
        Ok((comm, guard))
    }

    /// Makes one call, and waits until it has been passed on to the GPU.
    fn call(&self, what: &str, call: impl FnOnce(sys::ncclComm_t) -> Status) -> Result<()> {
        let (comm, guard) = self.comm()?;
        let status = call(comm);
        let checked = self.library.check(what, comm, status);
        drop(guard);
        checked.map_err(|problem| self.error(problem))?;
        match status {
            SUCCESS => Ok(()),
            _ => self.finish(what),
        }
    }

    /// Waits until the last call is done. It ends: with an error where the thread that watches has seen a rank fail.
    fn finish(&self, what: &str) -> Result<()> {
        loop {
            let (comm, guard) = self.comm()?;
            let status = self
                .state(what, comm)
                .map_err(|problem| self.error(problem))?;
            drop(guard);
            if status == SUCCESS {
                return Ok(());
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// How the last call of `comm`, which lives, is going.
    fn state(&self, what: &str, comm: sys::ncclComm_t) -> std::result::Result<Status, String> {
        let mut status: Status = SUCCESS;
        // SAFETY: the communicator lives. The status is written as the 32 bits that it is (`functions!`), whichever.
        let asked = unsafe { (self.library.state)(comm, (&raw mut status).cast()) };
        self.library.check(what, comm, asked)?;
        self.library.check(what, comm, status)?;
        Ok(status)
    }

    /// Ends all that goes on, here and on the GPU, without waiting for other ranks.
    fn end(&self, why: String) {
        let mut guard = lock(&self.comm);
        if let Comm::Met(comm) = *guard {
            // SAFETY: the communicator lives; nothing else uses it now, and from here on nothing finds it.
            let _ = unsafe { (self.library.abort)(comm) };
            *guard = Comm::Ended(why);
        }
    }

    /// Ends all once a rank or the connection has failed: a rank that waits for its GPU would wait for ever.
    fn watch(&self) {
        if self.enter().is_err() {
            return self.end("the GPU has failed".to_owned());
        }
        while !self.over.load(Ordering::Acquire) {
            let failed = self.host.check().err().or_else(|| {
                let (comm, guard) = self.comm().ok()?;
                let failed = self.state("sums between ranks", comm).err();
                drop(guard);
                failed
            });
            if let Some(why) = failed {
                return self.end(why);
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Makes `later` wait for what `earlier` was asked for so far.
    fn after(&self, later: cuda::CUstream, earlier: cuda::CUstream) -> Result<()> {
        self.enter()?;
        let event = lock(&self.event);
        let flags = cuda::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: event and streams live, and the event is not recorded anew between the two calls.
        let ordered = unsafe {
            result::event::record(*event, earlier)
                .and_then(|()| result::stream::wait_event(later, *event, flags))
        };
        ordered.map_err(|error| self.error(text(error)))
    }

    /// Asks for `one` part after the other in one go: for parts of unequal length, which no single call takes.
    fn each(&self, what: &str, one: impl Fn(sys::ncclComm_t, usize) -> Status) -> Result<()> {
        self.call(what, |comm| {
            // SAFETY: every start has its end, in the same thread.
            let begun = unsafe { (self.library.group_start)() };
            if begun != SUCCESS {
                return begun;
            }
            let done = |status: &Status| *status == SUCCESS || *status == IN_PROGRESS;
            let statuses = (0..self.host.ranks()).map(|rank| one(comm, rank));
            let failed = statuses.into_iter().find(|status| !done(status));
            // SAFETY: as above.
            let ended = unsafe { (self.library.group_end)() };
            failed.unwrap_or(ended)
        })
    }
}

impl Peers for Nccl {
    fn start(&self, operation: Operation, address: Address, len: usize) -> Result<()> {
        let shared = &*self.shared;
        let (library, host) = (shared.library, &*shared.host);
        shared.after(shared.stream, shared.compute)?;
        let stream: sys::cudaStream_t = shared.stream.cast();
        let (kind, sum) = (sys::ncclDataType_t::ncclFloat32, sys::ncclRedOp_t::ncclSum);
        let all = address as *mut c_void;
        let even = len.is_multiple_of(host.ranks());
        let part = |rank: usize| {
            let place = host.part(len, rank);
            let start = address + (place.start * size_of::<f32>()) as Address;
            (start as *mut c_void, place.len())
        };
        let (own, own_len) = part(host.rank());
        let cut = matches!(operation, Operation::ReduceScatter | Operation::AllGather);
        if cut && !even {
            return shared.each("sums of parts", |comm, rank| {
                let (part, len) = part(rank);
                let root = rank as c_int;
                // SAFETY: the communicator lives while it is lent. The part lies within the numbers, which who calls keeps
                // allocated until `join`, and every rank asks for the same parts. Sending and receiving begin at one
                // place, which is allowed.
                unsafe {
                    match operation {
                        Operation::AllGather => {
                            (library.broadcast)(part, part, len, kind, root, comm, stream)
                        }
                        _ => (library.reduce)(part, part, len, kind, sum, root, comm, stream),
                    }
                }
            });
        }
        shared.call("sums", |comm| {
            // SAFETY: as above; and where a rank sends or receives its part alone, it lies where all of the other side has
            // it, which is what is allowed in place.
            unsafe {
                match operation {
                    Operation::AllReduce => {
                        (library.all_reduce)(all, all, len, kind, sum, comm, stream)
                    }
                    Operation::Broadcast => {
                        (library.broadcast)(all, all, len, kind, 0, comm, stream)
                    }
                    Operation::ReduceScatter => {
                        (library.reduce_scatter)(all, own, own_len, kind, sum, comm, stream)
                    }
                    Operation::AllGather => {
                        (library.all_gather)(own, all, own_len, kind, comm, stream)
                    }
                }
            }
        })
    }

    fn join(&self) -> Result<()> {
        // An error of it, where it has ended.
        drop(self.shared.comm()?);
        self.shared.after(self.shared.compute, self.shared.stream)
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        // What has run is not lost by this, and it waits for nobody.
        if shared.enter().is_ok() {
            shared.end("it was left".to_owned());
            // SAFETY: the stream lives, is used by nobody any more, and has run what it was asked for: nothing of it waits
            // for other ranks now. The event likewise.
            unsafe {
                let _ = result::stream::synchronize(shared.stream);
                let _ = result::stream::destroy(shared.stream);
                let _ = result::event::destroy(*lock(&shared.event));
            }
        }
    }
}
