//! A `.tar.gz` that depends on nothing but names and bytes: sorted, with one time, root as owner, and modes that follow
//! from the place, so that neither umask nor file system nor clock show.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::tree;

/// Packs the folder `top` under its own name; every entry was last changed at `time` (seconds since 1970).
pub(super) fn write(top: &Path, archive: &Path, time: u64) -> Result<()> {
    let name = Path::new(top.file_name().context("a packed folder has a name")?);
    let partial = archive.with_extension("partial");
    let file = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    // The builder's defaults: no file name and no time in gzip's own header.
    let zip = GzBuilder::new().write(BufWriter::new(file), Compression::best());
    let mut tar = Builder::new(zip);
    let mut folders = vec![];
    for file in tree::files(top)? {
        // Those that a file lies in come before it, once.
        let mut above: Vec<PathBuf> = file.ancestors().skip(1).map(|folder| name.join(folder)).collect();
        above.retain(|folder| !folders.contains(folder));
        for folder in above.into_iter().rev() {
            add(&mut tar, &folder, EntryType::Directory, 0o755, time, &[])?;
            folders.push(folder);
        }
        let mode = if file.starts_with(tree::PROGRAMS) { 0o755 } else { 0o644 };
        let bytes = fs::read(top.join(&file)).with_context(|| format!("cannot read {}", file.display()))?;
        add(&mut tar, &name.join(&file), EntryType::Regular, mode, time, &bytes)?;
    }
    tar.into_inner()?.finish()?.flush()?;
    fs::rename(&partial, archive)?;
    Ok(())
}

fn add<W: Write>(tar: &mut Builder<W>, path: &Path, what: EntryType, mode: u32, time: u64, bytes: &[u8]) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(what);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    header.set_mtime(time);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes).with_context(|| format!("cannot pack {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use flate2::read::GzDecoder;

    use super::*;

    /// A folder with two files, written in this order with these modes.
    fn packed(parent: &Path, order: [&str; 2], mode: u32) -> Vec<u8> {
        let top = parent.join("serin-1");
        for file in order {
            let path = top.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("this is {file}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let archive = parent.join("a.tar.gz");
        write(&top, &archive, 1_000).unwrap();
        fs::read(archive).unwrap()
    }

    #[test]
    fn the_same_files_give_the_same_archive() {
        let scratch = std::env::temp_dir().join(format!("xtask-archive-{}", std::process::id()));
        let one = packed(&scratch.join("one"), ["bin/serin", "README.md"], 0o600);
        let other = packed(&scratch.join("other"), ["README.md", "bin/serin"], 0o777);
        assert_eq!(one, other);

        let mut tar = tar::Archive::new(GzDecoder::new(one.as_slice()));
        let entries: Vec<_> = tar.entries().unwrap().map(Result::unwrap).collect();
        let packed = entries.iter().map(|entry| {
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 1_000));
            (entry.path().unwrap().display().to_string(), header.mode().unwrap())
        });
        let packed: Vec<_> = packed.collect();
        let expected = [("serin-1/", 0o755), ("serin-1/README.md", 0o644), ("serin-1/bin", 0o755)];
        let expected = expected.into_iter().chain([("serin-1/bin/serin", 0o755)]);
        assert_eq!(packed, expected.map(|(path, mode)| (path.to_owned(), mode)).collect::<Vec<_>>());
        fs::remove_dir_all(scratch).unwrap();
    }
}
