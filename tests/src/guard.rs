//! Something that is done when this process ends, however it ends: even by `kill -9`, or by a test runner that
//! drops nothing.
//!
//! A small shell waits at a pipe that only this process holds open. When the pipe closes without a word, it acts.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// Acts when it is dropped or when this process ends, unless it was dismissed.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Will run `command` at the end.
    pub fn new(command: &[&str]) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r word || \"$@\"", "guard"]).args(command);
        // Of its own group, or the Ctrl-C that ends us would end it as well.
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut shell = shell.spawn().context("cannot start a shell")?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Lets it go without acting.
    pub fn dismiss(mut self) {
        if let Some(pipe) = &mut self.pipe {
            // If the shell is gone already there is nobody to tell.
            drop(pipe.write_all(b"dismissed\n"));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        // Its failure would be the command's, whose own log says more.
        drop(self.shell.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_acts_when_dropped_and_not_when_dismissed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (acted, dismissed) = (folder.path().join("acted"), folder.path().join("dismissed"));
        drop(Guard::new(&["touch", acted.to_str().expect("text")]).expect("started"));
        Guard::new(&["touch", dismissed.to_str().expect("text")]).expect("started").dismiss();
        assert!(acted.exists() && !dismissed.exists());
    }
}
