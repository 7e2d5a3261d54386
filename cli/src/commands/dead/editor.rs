//! The user's editor on a file. What it does is the user's business; here it is started and waited for.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, anyhow};
use runtime::report::Failure;

/// The editor of the environment: `$VISUAL`, else `$EDITOR`.
pub fn of_environment() -> Option<String> {
    let given = |name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    given("VISUAL").or_else(|| given("EDITOR"))
}

/// Opens a file and returns its content once the editor has ended. An editor that fails has changed nothing.
pub fn edit(editor: Option<&str>, path: &Path) -> Result<Vec<u8>, Failure> {
    let missing = || Failure::usage(anyhow!("neither $VISUAL nor $EDITOR is set: set one, or use --body FILE"));
    let editor = editor.ok_or_else(missing)?;
    // Through a shell, because the variable may hold arguments; the path is one of them, whatever is in it.
    let started = Command::new("sh").args(["-c", &format!("{editor} \"$1\""), editor]).arg(path).status();
    let status = started.with_context(|| format!("cannot start {editor}")).map_err(Failure::usage)?;
    if !status.success() {
        return Err(Failure::usage(anyhow!("{editor} ended with {status}: nothing was changed")));
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display())).map_err(Failure::usage)
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
        assert_eq!(edit(Some("sed -i s/1/2/"), &path).unwrap(), b"{\"a\":2}");
    }

    #[test]
    fn an_editor_that_fails_or_is_not_there_changes_nothing() {
        let (_folder, path) = file("x");
        for editor in [None, Some("false"), Some("no-such-editor-anywhere 2>/dev/null")] {
            assert_eq!(edit(editor, &path).unwrap_err().exit, Exit::Usage, "{editor:?}");
        }
    }
}
