//! Who listens on an address already, for the message of the one who wanted to.
//!
//! Read from /proc, as far as this user may look; elsewhere nobody is found. It never fails.

use std::fs;
use std::net::SocketAddr;

/// State of a listening socket in /proc/net/tcp.
const LISTENING: &str = "0A";

/// `process 17 (java)`, when it can be known.
pub(super) fn of(address: SocketAddr) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| inode_of(&fs::read_to_string(table).ok()?, address.port()))?;
    let link = format!("socket:[{inode}]");
    let mut processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    // Its other entries are not processes, or `self`.
    let is_process = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    let owner = processes.find(|entry| is_process(&entry.file_name()) && holds(&entry.path(), &link))?;
    let name = fs::read_to_string(owner.path().join("comm")).unwrap_or_default();
    Some(format!("process {} ({})", owner.file_name().to_string_lossy(), name.trim()))
}

/// The socket that listens on the port, on whichever address of this machine.
fn inode_of(table: &str, port: u16) -> Option<String> {
    let ending = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        (local.ends_with(&ending) && *state == LISTENING).then(|| (*inode).to_owned())
    })
}

fn holds(process: &std::path::Path, link: &str) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    let mut targets = files.filter_map(Result::ok).filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| target.as_os_str() == link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_by_its_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:2382 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n   \
                     1: 0100007F:2382 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1\n";
        assert_eq!(inode_of(table, 0x2382).as_deref(), Some("12"));
        assert_eq!(inode_of(table, 1), None);
    }

    #[test]
    fn this_process_is_found_by_what_it_listens_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = of(listener.local_addr().unwrap());
        let expected = format!("process {} (", std::process::id());
        assert!(found.as_ref().is_none_or(|found| found.starts_with(&expected)), "{found:?}");
        assert_eq!(found.is_some(), std::path::Path::new("/proc/net/tcp").exists());
    }
}
