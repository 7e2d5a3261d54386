//! Harm to disks: lost, damaged, full.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::guard::Guard;
use crate::seed::Random;

const SIZE: &str = "size=96m";
const FILLER: &str = "filler";
static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

/// A disk in memory that can be filled up. Dropping it takes it away.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
    _guard: Guard,
}

impl SmallDisk {
    /// Puts a small disk on a folder; nothing where that is not allowed.
    pub fn mount(folder: &Path) -> Result<Option<Self>> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", SIZE, "weir-torture"]).arg(folder);
        let mounted = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let guard = Guard::new(&["umount", "-l", &folder.display().to_string()])?;
        Ok(Some(Self { folder: folder.to_owned(), _guard: guard }))
    }

    /// Leaves no byte free.
    pub fn fill(&self) -> Result<()> {
        let mut filler = fs::File::create(self.folder.join(FILLER)).context("cannot write a filler")?;
        loop {
            match filler.write(&BLOCK) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("cannot fill the disk"),
            }
        }
    }

    /// Makes room again.
    pub fn free(&self) -> Result<()> {
        match fs::remove_file(self.folder.join(FILLER)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("cannot remove the filler"),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Takes all state away. The folder stays: it may be a disk.
pub fn wipe(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry.context("cannot read a state folder")?.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Damages one file: cuts its end off, or turns one bit. What was done, if there was anything to damage.
pub fn damage(folder: &Path, random: &mut Random) -> Result<Option<String>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let Some((path, length)) = files.choose(random) else { return Ok(None) };
    let name = path.strip_prefix(folder).unwrap_or(path).display();
    let mut file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.as_mut().map_err(|error| anyhow::anyhow!("cannot open {}: {error}", path.display()))?;
    let at = random.random_range(0..*length);
    if random.random_bool(0.5) {
        file.set_len(at).context("cannot cut a file")?;
        return Ok(Some(format!("{name} cut from {length} to {at} bytes")));
    }
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut byte)).context("cannot read a byte")?;
    byte[0] ^= 1 << random.random_range(0..8);
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&byte)).context("cannot turn a bit")?;
    Ok(Some(format!("{name} with one bit turned at {at} of {length}")))
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry.context("cannot read a state folder")?;
        let about = entry.metadata().context("cannot look at a file")?;
        if about.is_dir() {
            collect(&entry.path(), files)?;
        } else if about.len() > 0 {
            files.push((entry.path(), about.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::random;

    #[test]
    fn a_damaged_file_is_not_what_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("partition").join("file");
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        let whole = vec![7_u8; 100];
        let mut random = random(1, "damage");
        for _ in 0..20 {
            fs::write(&path, &whole).expect("written");
            let what = damage(folder.path(), &mut random).expect("damaged");
            assert!(what.is_some_and(|what| what.starts_with("partition/file ")));
            assert_ne!(fs::read(&path).expect("still there"), whole);
        }
        wipe(folder.path()).expect("wiped");
        assert_eq!(damage(folder.path(), &mut random).expect("nothing there"), None);
    }
}
