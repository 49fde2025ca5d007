//! A network interface whose other end is this process: what a host sends is read here, and what is written here it receives.
//!
//! The one place of the laboratory with `unsafe`: such an interface is named by an `ioctl` that no safe crate of ours offers.
//!
//! **Why it is sound.** The request code is `TUNSETIFF`, `_IOW('T', 202, int)` of the kernel's `if_tun.h`. Despite its name the
//! kernel reads a `struct ifreq` from the pointer, and writes one back: 40 bytes on 64-bit machines and 32 on others, aligned
//! to 8. [`Request`] is 40 bytes, aligned to 8, all of them initialised, any of which may take any value; it lives on the stack
//! until the call is over, and the kernel keeps no pointer to it.
#![expect(unsafe_code, reason = "an ioctl; see above")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};

use crate::fault::{Doing, Fault, Tried};

/// The device from which interfaces are made.
const DEVICE: &str = "/dev/net/tun";
/// `TUNSETIFF`.
const SET_INTERFACE: Opcode = 0x4004_54ca;
/// `IFF_TAP | IFF_NO_PI`: whole Ethernet frames with nothing before them. No offload is asked for, so the kernel cuts and sums.
const FLAGS: u16 = 0x0002 | 0x1000;
/// Longest name of an interface, bytes; one more is zero.
const NAME_MAX: usize = 15;

/// `struct ifreq`, as far as it is used here.
#[repr(C, align(8))]
struct Request {
    name: [u8; NAME_MAX + 1],
    flags: u16,
    rest: [u8; 22],
}

/// Our end of an interface. The interface goes when this does.
#[derive(Debug)]
pub(crate) struct Tap(File);

impl Tap {
    /// Makes an interface called `name` in the network namespace of the calling thread.
    pub(crate) fn open(name: &str) -> Tried<Self> {
        let mut request = Request { name: [0; NAME_MAX + 1], flags: FLAGS, rest: [0; 22] };
        let room = request.name.get_mut(..name.len().min(NAME_MAX + 1));
        match room.filter(|room| room.len() == name.len() && name.len() <= NAME_MAX) {
            Some(room) => room.copy_from_slice(name.as_bytes()),
            None => return Err(Fault::new(format!("`{name}` is too long for an interface"))),
        }
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(DEVICE);
        let file = file.doing(format_args!("open {DEVICE} (it needs the kernel's module tun)"))?;
        // SAFETY: code, type, size and life of the argument are as the page above says.
        let made = unsafe { ioctl(&file, Updater::<SET_INTERFACE, Request>::new(&mut request)) };
        made.map_err(std::io::Error::from).doing(format_args!("make the interface {name}"))?;
        Ok(Self(file))
    }

    /// The next frame that the host sent, if there is one, put into `room`; its length.
    pub(crate) fn read(&self, room: &mut [u8]) -> Option<usize> {
        (&self.0).read(room).ok()
    }

    /// Gives a frame to the host. False when it does not take it: it is down, or has no room.
    pub(crate) fn write(&self, frame: &[u8]) -> bool {
        (&self.0).write(frame).is_ok_and(|written| written == frame.len())
    }

    /// Waits until one of `taps` has a frame, but no longer than `nanos`.
    pub(crate) fn wait(taps: &[std::sync::Arc<Self>], nanos: u64) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut all: Vec<PollFd<'_>> =
            taps.iter().map(|tap| PollFd::new(&tap.0, PollFlags::IN)).collect();
        let second = 1_000_000_000;
        let timeout = Timespec {
            tv_sec: i64::try_from(nanos / second).unwrap_or(0),
            tv_nsec: i64::try_from(nanos % second).unwrap_or(0),
        };
        match poll(&mut all, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            // What cannot be waited for is looked at again soon.
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn a_request_is_as_large_as_the_kernel_takes_it_to_be() {
        assert_eq!((size_of::<Request>(), align_of::<Request>()), (40, 8));
        assert_eq!(std::mem::offset_of!(Request, flags), 16);
    }
}
