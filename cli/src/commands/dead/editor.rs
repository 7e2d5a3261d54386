//! The user's editor on a file. What it does is the user's business; here it is started and waited for.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, anyhow};
use runtime::report::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::commands::tokio_runtime;

/// An editor's command line.
#[derive(Debug, Clone)]
pub struct Editor(String);

impl Editor {
    /// That of the environment: `$VISUAL`, else `$EDITOR`.
    pub fn of_environment() -> Result<Self, Failure> {
        Self::of(|name| std::env::var(name).ok())
    }

    /// One that is given.
    #[cfg(test)]
    pub fn new(command: &str) -> Self {
        Self(command.to_owned())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let given = |name| variable(name).filter(|editor| !editor.trim().is_empty());
        let missing = || Failure::usage(anyhow!("neither $VISUAL nor $EDITOR is set: set one, or use --body FILE"));
        given("VISUAL").or_else(|| given("EDITOR")).map(Self).ok_or_else(missing)
    }

    /// Opens a file and returns its content once the editor has ended. An editor that fails has changed nothing.
    pub fn edit(&self, path: &Path) -> Result<Vec<u8>, Failure> {
        let Self(editor) = self;
        let tokio = tokio_runtime()?;
        let _held = tokio.block_on(hold())?;
        // Through a shell, because the variable may hold arguments; the path is one of them, whatever is in it.
        let started = Command::new("sh").args(["-c", &format!("{editor} \"$1\""), editor]).arg(path).status();
        let status = started.with_context(|| format!("cannot start {editor}")).map_err(Failure::usage)?;
        if !status.success() {
            return Err(Failure::usage(anyhow!("{editor} ended with {status}: nothing was changed")));
        }
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display())).map_err(Failure::usage)
    }
}

/// Ctrl-C and Ctrl-\ in an editor are for the editor, and reach us too. A handler, and not `SIG_IGN`, because the editor
/// would inherit that.
async fn hold() -> Result<[Signal; 2], Failure> {
    let held = signal(SignalKind::interrupt()).and_then(|interrupt| Ok([interrupt, signal(SignalKind::quit())?]));
    held.context("cannot listen for signals").map_err(Failure::internal)
}

#[cfg(test)]
mod tests {
    use runtime::report::Exit;

    use super::*;

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a body; $(false).json");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn an_editor_may_have_arguments_and_a_path_any_characters() {
        let (_folder, path) = file("{\"a\":1}");
        assert_eq!(Editor::new("sed -i s/1/2/").edit(&path).unwrap(), b"{\"a\":2}");
    }

    #[test]
    fn an_editor_that_fails_or_is_not_there_changes_nothing() {
        let (_folder, path) = file("x");
        for command in ["false", "no-such-editor-anywhere 2>/dev/null"] {
            assert_eq!(Editor::new(command).edit(&path).unwrap_err().exit, Exit::Usage, "{command:?}");
        }
    }

    #[test]
    fn the_editor_is_visual_or_else_the_other_one() {
        let of = |visual: &str, other: &str| {
            Editor::of(|name| Some(if name == "VISUAL" { visual.to_owned() } else { other.to_owned() }))
        };
        assert_eq!(of("code -w", "vi").unwrap().0, "code -w");
        assert_eq!(of(" ", "vi").unwrap().0, "vi");
        assert_eq!(of("", "").unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_signal_that_is_meant_for_the_editor_does_not_end_us() {
        let (_folder, path) = file("1");
        // SIGQUIT would end this whole test. SIGINT is held by the same line, and other tests listen for it.
        let command = format!("kill -QUIT {}; sed -i s/1/2/", std::process::id());
        assert_eq!(Editor::new(&command).edit(&path).unwrap(), b"2");
    }
}
