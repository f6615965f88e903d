//! A program with surgetank and nothing else in it: neither what it is compared with, nor charts, nor a reader of command
//! lines. What it takes of memory is what a program pays that takes surgetank in.

use anyhow::{Context, Result, bail};
use surgetank_bench::load::Job;
use surgetank_bench::subjects::{Compressed, SUBJECTS, Setting};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["load", subject, upstream, compression, "memory", items] = words[..] else {
        bail!("usage: surgetank-alone load SUBJECT UPSTREAM COMPRESSION memory ITEMS");
    };
    let entry = SUBJECTS.iter().find(|entry| entry.name == subject);
    let entry = entry.with_context(|| format!("no subject {subject}"))?;
    let compression = Compressed::ALL.iter().find(|known| known.name() == compression);
    let setting = Setting {
        upstream: upstream.to_owned(),
        compression: compression.context("no such compression")?.setting(),
    };
    let items = items.parse().context("not a number of items")?;
    (entry.load)(&setting, &Job::Memory { items });
    Ok(())
}
