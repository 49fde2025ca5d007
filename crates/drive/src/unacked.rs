//! How much of what was written to a TCP socket its other end has not acknowledged.
//!
//! The one place of this crate with `unsafe`: the question is an `ioctl` that no safe crate of ours offers.
//!
//! **Why it is sound.** The request code is `SIOCOUTQ` (the same number as `TIOCOUTQ`) of the kernel's `sockios.h`; `tcp(7)` says
//! that it writes one `int`, which is what `Getter` has room for, and that it changes nothing.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "an ioctl; see above"))]

use tokio::net::TcpStream;

/// Bytes that the system still holds because the other end has not acknowledged them, sent or not; `None` where the system
/// cannot tell.
#[cfg(target_os = "linux")]
pub(crate) fn unacked(stream: &TcpStream) -> Option<u32> {
    use rustix::ioctl::{Getter, Opcode, ioctl};
    /// `SIOCOUTQ`.
    const OUTPUT_QUEUE: Opcode = 0x5411;
    // SAFETY: code and type are as the page above says.
    let bytes = unsafe { ioctl(stream, Getter::<OUTPUT_QUEUE, i32>::new()) };
    u32::try_from(bytes.ok()?).ok()
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unacked(_: &TcpStream) -> Option<u32> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::unacked;

    #[tokio::test]
    async fn what_the_other_end_has_not_taken_is_told_and_then_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut own = TcpStream::connect(address).await.expect("it listens");
        let (mut other, _) = listener.accept().await.expect("it dialed");
        assert_eq!(unacked(&own), Some(0));
        // Far more than both ends buffer.
        let written = tokio::spawn(async move {
            own.write_all(&vec![0; 32 << 20]).await.expect("it is read");
            own
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!written.is_finished());
        let mut all = vec![0; 32 << 20];
        other.read_exact(&mut all).await.expect("it is written");
        let own = written.await.expect("no panic");
        for _ in 0..200 {
            if unacked(&own) == Some(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?} are not acknowledged", unacked(&own));
    }
}
