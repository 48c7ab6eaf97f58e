//! How the system's allocator treats large buffers.

/// Tells the C library's allocator to keep freed buffers up to 32 MiB for the next that is asked for, rather than give each
/// back to the system and take it again a page at a time: images and their pixels are made and dropped hundreds of times
/// a second. Those are the values to which glibc adapts by itself once a program has freed a buffer that large; at most
/// 64 MiB a thread stay unused. Does nothing with other allocators.
pub fn keep_freed_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    {
        const MIB: libc::c_int = 1 << 20;
        // SAFETY: the calls set two numbers of the allocator under its own lock; a value out of range is refused.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 32 * MIB);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * MIB);
        }
    }
}
