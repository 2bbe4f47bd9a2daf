//! The files on disk: all or none, whole or not at all, and never over what is there already unless that is asked for.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::text;

/// A file to write.
pub(super) struct File {
    /// Below the folder.
    pub(super) place: String,
    pub(super) text: String,
    pub(super) is_program: bool,
}

/// Writes them below a folder; their paths.
///
/// # Errors
/// When one is there already, all of which are named, or cannot be written.
pub(super) fn write(folder: &Path, files: &[File], force: bool) -> Result<Vec<PathBuf>, Failure> {
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(&file.place)).collect();
    let there: Vec<String> = paths.iter().filter(|path| path.symlink_metadata().is_ok()).map(|it| shown(it)).collect();
    if !force && !there.is_empty() {
        let there = there.join("\n  ");
        return Err(Failure::Refused(format!(
            "nothing was written, for this is there already:\n  {there}\n--force overwrites it; --dir names another folder"
        )));
    }
    // What fails, fails here, before anything is in its place: no room, no permission.
    let staged: Vec<NamedTempFile> =
        files.iter().zip(&paths).map(|(file, path)| stage(file, path)).collect::<Result<_, _>>()?;
    for (file, path) in staged.into_iter().zip(&paths) {
        let placed = if force { file.persist(path).map(drop) } else { file.persist_noclobber(path).map(drop) };
        placed.map_err(|failed| failed.error).with_context(|| format!("cannot write {}", shown(path)))?;
    }
    Ok(paths)
}

fn stage(file: &File, path: &Path) -> Result<NamedTempFile, Failure> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", shown(folder)))?;
    let mode = if file.is_program { 0o777 } else { 0o666 };
    let mut staged = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .with_context(|| format!("cannot write into {}", shown(folder)))?;
    staged.write_all(file.text.as_bytes()).with_context(|| format!("cannot write {}", shown(path)))?;
    Ok(staged)
}

/// A path fit for a terminal.
pub(super) fn shown(path: &Path) -> String {
    text::clean(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn files(text: &str) -> [File; 2] {
        let file = |place: &str, is_program| File { place: place.into(), text: text.into(), is_program };
        [file("a", false), file("sub/b", true)]
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_written_with_their_folders_and_a_program_can_be_run() {
        let folder = TempDir::new().unwrap();
        let root = folder.path().join("new/folder");
        let paths = write(&root, &files("x"), false).unwrap();
        assert_eq!(paths, [root.join("a"), root.join("sub/b")]);
        let can_run = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0;
        assert_eq!(paths.iter().map(can_run).collect::<Vec<_>>(), [false, true]);
        assert_eq!((names(&root), names(&root.join("sub"))), (vec!["a".into(), "sub".into()], vec!["b".into()]));
    }

    #[test]
    fn what_is_there_stays_unless_forced_and_the_rest_is_not_written() {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        fs::write(root.join("a"), "mine").unwrap();
        let said = write(root, &files("x"), false).unwrap_err().to_string();
        assert!(said.contains(&shown(&root.join("a"))) && said.contains("--force") && !said.contains("sub"), "{said}");
        assert_eq!((fs::read_to_string(root.join("a")).unwrap().as_str(), names(root)), ("mine", vec!["a".into()]));
        write(root, &files("x"), true).unwrap();
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "x");
    }

    #[test]
    fn where_one_cannot_be_written_none_is() {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        fs::write(root.join("sub"), "a file where a folder must be").unwrap();
        let said = crate::failure::with_causes(&write(root, &files("x"), false).unwrap_err());
        assert!(said.contains("cannot make the folder"), "{said}");
        assert_eq!(names(root), ["sub"]);
    }
}
