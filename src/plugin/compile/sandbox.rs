//! What the compiler's process is forbidden by the kernel: sockets, other programs, other processes.
//!
//! A filter of system calls holds where limits and namespaces do not: sockets on the disk (Docker's, the
//! gateway's own for operators) lie outside of any network namespace. The forbidden calls answer `EPERM`;
//! everything else passes, since what a compiler and its allocator ask for differs from system to system.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// Whether a component is compiled where the system cannot forbid these calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// `"if-possible"`: yes, and the log says so once.
    #[default]
    IfPossible,
    /// `"required"`: no; the component is refused.
    Required,
}

impl Sandbox {
    /// As in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IfPossible => "if-possible",
            Self::Required => "required",
        }
    }
}

/// To open a socket or to use one; to have the kernel do so (`io_uring`), or take one from another process.
const NETWORK: [libc::c_long; 17] = [
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_pidfd_getfd,
];

/// To become another program, or to reach into other processes of the same user, the gateway among them.
const PROCESSES: [libc::c_long; 7] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_pidfd_send_signal,
];

/// The bit of the numbers of x86-64's second interface, whose calls are the same ones.
#[cfg(target_arch = "x86_64")]
const X32: libc::c_long = 0x4000_0000;

/// Forbids this thread, and those that it starts from now on, what the module says. For good.
///
/// # Errors
/// The system has no such filters, or not for this machine.
pub(super) fn enter() -> Result<(), String> {
    let program = program().map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let forbidden = NETWORK.into_iter().chain(PROCESSES);
    #[cfg(target_arch = "x86_64")]
    let forbidden = forbidden.flat_map(|call| [call, call | X32]);
    // Without conditions: whatever their arguments are.
    let rules: BTreeMap<i64, Vec<_>> = forbidden.map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::Command;

    use super::*;

    /// Tries everything that leads out of a process, and says what was answered.
    fn attempts(folder: &std::path::Path, tcp: std::net::SocketAddr) -> Vec<(&'static str, Option<ErrorKind>)> {
        let kind = |outcome: std::io::Result<()>| outcome.err().map(|error| error.kind());
        vec![
            ("tcp", kind(TcpStream::connect(tcp).map(drop))),
            ("udp", kind(UdpSocket::bind("127.0.0.1:0").map(drop))),
            ("listen", kind(TcpListener::bind("127.0.0.1:0").map(drop))),
            ("unix", kind(UnixStream::connect(folder.join("docker.sock")).map(drop))),
            ("pair", kind(UnixStream::pair().map(drop))),
            ("datagram", kind(std::os::unix::net::UnixDatagram::unbound().map(drop))),
            ("program", kind(Command::new("/bin/true").status().map(drop))),
        ]
    }

    #[test]
    fn nothing_leads_out_of_a_thread_that_entered() {
        let folder = tempfile::tempdir().unwrap();
        let _unix = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let path = folder.path();
        let (before, after) = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let before = attempts(path, address);
                    enter().unwrap();
                    (before, attempts(path, address))
                })
                .join()
                .unwrap()
        });
        assert!(before.iter().all(|(_, error)| error.is_none()), "{before:?}");
        assert!(after.iter().all(|(_, error)| *error == Some(ErrorKind::PermissionDenied)), "{after:?}");
        // Only those who entered are held.
        assert!(attempts(path, address).iter().all(|(_, error)| error.is_none()));
    }

    #[test]
    fn what_a_compiler_does_goes_on() {
        let made = std::thread::spawn(|| {
            enter().unwrap();
            let text = std::fs::read_to_string("/proc/self/status").unwrap();
            let threads = std::thread::spawn(|| vec![1_u8; 1 << 20].len());
            (text.is_empty(), threads.join().unwrap())
        });
        assert_eq!(made.join().unwrap(), (false, 1 << 20));
    }
}
