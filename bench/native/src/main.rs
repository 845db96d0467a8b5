//! The baseline server: `crossover-native THREADS` reads requests on standard input and answers on
//! standard output, as [`crossover_native::protocol`] says, until the input ends.

#![forbid(unsafe_code)]

use anyhow::Context;
use crossover_native::server::Server;

fn main() -> anyhow::Result<()> {
    let threads = std::env::args().nth(1).context("usage: crossover-native THREADS")?;
    let threads = threads.parse().with_context(|| format!("`{threads}` is no number"))?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    Server::default().serve(std::io::stdin().lock(), std::io::stdout().lock())?;
    Ok(())
}
