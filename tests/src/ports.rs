//! Ports: free ones for tests, and who has one that is not free.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::place;

/// Below the range from which the kernel gives ports to outgoing connections, so that nobody takes one by chance
/// between the look and the use.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A prime: processes that start after each other begin far from each other.
const STRIDE: u32 = 397;

/// A port that is free and was not given out before by this process. Where a process begins to look follows from its
/// number, so that two that look at the same time do not find the same.
pub fn free() -> Result<u16> {
    static GIVEN: Mutex<u16> = Mutex::new(0);
    let mut given = GIVEN.lock().expect("nothing panics while it holds the lock");
    let count = RANGE.end - RANGE.start;
    let begin = std::process::id().wrapping_mul(STRIDE) % u32::from(count);
    while *given < count {
        let nth = (begin + u32::from(*given)) % u32::from(count);
        *given += 1;
        let port = RANGE.start + u16::try_from(nth).context("a port below 65536")?;
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!("found no free port in {RANGE:?}")
}

/// Whether nobody listens on a port of this machine.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Fails with the name of who has the port, unless it is free. `variable` is what moves us to another one.
pub fn require_free(port: u16, variable: &str) -> Result<()> {
    if is_free(port) {
        return Ok(());
    }
    bail!("port {port} is taken by {}; set {variable} to another one", owner(port)?)
}

/// Who listens on a port, as well as the system tells.
fn owner(port: u16) -> Result<String> {
    let library = place::script("kafka/lib.sh");
    let mut command = Command::new("bash");
    command.args(["-c", "source \"$0\" && port_owner \"$1\""]).arg(library).arg(port.to_string());
    let output = command.output().context("cannot start bash")?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(if name.is_empty() { "an unknown process".to_owned() } else { name })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wait::wait_until;

    #[tokio::test]
    async fn whoever_has_a_port_is_named() {
        // A child that another test starts at this moment has our listener too, until it becomes its program: it may
        // be the one who is named, and keeps the port for so long.
        let soon = Duration::from_secs(20);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free().expect("a port"))).expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let owner = format!("pid {}", std::process::id());
        let named = async || match require_free(port, "INGEST_PORT").map_err(|error| error.to_string()) {
            Err(error) if error.contains(&owner) && error.contains("INGEST_PORT") => Ok(()),
            other => Err(format!("{other:?}")),
        };
        wait_until("the owner to be named", soon, named).await.expect("named");
        drop(listener);
        let freed = async || require_free(port, "INGEST_PORT").map_err(|error| error.to_string());
        wait_until("the port to be free again", soon, freed).await.expect("free again");
    }
}
