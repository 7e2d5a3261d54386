//! A child process: started with its output in a file, signalled, awaited with a deadline, and gone when we are.

use std::fs::{File, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::guard::Guard;

/// How long between two looks at a child.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

const LAST_LINES: usize = 8;
const LAST_CHARACTERS: usize = 400;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    guard: Option<Guard>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to the end of `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = open(log)?;
        let errors = output.try_clone().context("cannot share a log file")?;
        // Of its own group: Ctrl-C is for us, and we tell it then.
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let guard = Guard::new(&["kill", "-KILL", &child.id().to_string()])?;
        Ok(Self { name: name.to_owned(), child, guard: Some(guard), log: log.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot ask after {}", self.name))
    }

    /// Sends a signal: `TERM`, `STOP`, `CONT`, …
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended before it got SIG{signal}: {}\n{}", self.name, shown(status), self.last_words());
        }
        let sent = Command::new("sh").args(["-c", "kill -$0 $1", signal, &self.id().to_string()]).status();
        ensure!(sent.context("cannot start a shell")?.success(), "cannot send SIG{signal} to {}", self.name);
        Ok(())
    }

    /// Kills it with SIGKILL and takes note of its end.
    pub fn kill(mut self) -> Result<()> {
        self.signal("KILL")?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        drop_cut_line(&self.log).with_context(|| format!("cannot mend {}", self.log.display()))
    }

    /// Waits until it has ended by itself.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {within:?}:\n{}", self.name, self.last_words());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Sends SIGTERM and waits for an orderly end: exit code 0.
    pub async fn stop(mut self, within: Duration) -> Result<()> {
        self.signal("TERM")?;
        let status = self.wait(within).await?;
        ensure!(status.success(), "{} ended with {}:\n{}", self.name, shown(status), self.last_words());
        Ok(())
    }

    /// Its last lines, cut to a readable length, for an error message.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].iter();
        let shown = last.map(|line| line.chars().take(LAST_CHARACTERS).collect::<String>());
        shown.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors here mean that it ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }
}

/// How a process ended, for people.
pub fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

fn open(log: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.with_context(|| format!("cannot write {}", log.display()))
}

/// A write that SIGKILL meets at the end of a page leaves half a line, to which the next process of this log would add
/// its first one. Nobody said it, so nobody shall read it.
fn drop_cut_line(log: &Path) -> std::io::Result<()> {
    let text = std::fs::read(log)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole == text.len() {
        return Ok(());
    }
    OpenOptions::new().write(true).open(log)?.set_len(whole as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", "echo started; sleep 60"]);
        Process::start("sleeper", command, &folder.join("log")).expect("started")
    }

    fn exists(id: u32) -> bool {
        Path::new(&format!("/proc/{id}")).exists()
    }

    #[tokio::test]
    async fn a_child_is_gone_when_its_handle_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = sleeper(folder.path());
        let id = process.id();
        assert!(exists(id));
        drop(process);
        assert!(!exists(id));
    }

    #[tokio::test]
    async fn half_a_line_of_a_killed_child_is_dropped_and_whole_ones_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo whole; printf half; sleep 60"]);
        let process = Process::start("cut", command, &log).expect("started");
        let written = || std::fs::read_to_string(&log).unwrap_or_default();
        crate::wait::wait_until("the half line", Duration::from_secs(20), || async {
            if written().ends_with("half") { Ok(()) } else { Err(written()) }
        })
        .await
        .expect("written");
        process.kill().expect("killed");
        assert_eq!(written(), "whole\n");
    }

    #[tokio::test]
    async fn an_end_by_itself_is_told_from_a_deadline_that_passed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = sleeper(folder.path());
        assert!(process.wait(Duration::from_millis(50)).await.is_err());
        process.signal("TERM").expect("sent");
        let status = process.wait(Duration::from_secs(20)).await.expect("ended");
        assert_eq!(shown(status), "signal 15");
        assert!(process.signal("TERM").is_err());
    }
}
