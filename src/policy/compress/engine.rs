//! The libraries that encode, one call each.
//!
//! What one of them holds is bounded by the parameters below: about 0.3 MiB for gzip, 1.2 MiB for zstd and 2 MiB for brotli.
//! To make and to clear that of gzip is a good part of the work for a small body, so each thread keeps one of each level for
//! the next body.

use std::cell::Cell;
use std::io;

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderCompressStream, BrotliEncoderCreateInstance, BrotliEncoderHasMoreOutput, BrotliEncoderIsFinished,
    BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderSetParameter, BrotliEncoderStateStruct,
};
use flate2::{Compress, Compression as Level, FlushCompress, Status};
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, get_error_name};

use super::Coding;
use super::Effort;

/// Level 6 takes twice the work of 4, for a twentieth less.
const GZIP_LEVEL: [u32; 2] = [1, 4];
/// Denser than gzip at level 6 for less work; from 5 on the tables are twice as large.
const BROTLI_QUALITY: [u32; 2] = [1, 4];
/// The library's default.
const ZSTD_LEVEL: [i32; 2] = [1, 3];
/// 256 KiB: larger windows cost memory per answer in flight, here and in every client, and hardly help pages.
const WINDOW_LOG: u32 = 18;

#[derive(Clone, Copy)]
pub(super) enum Step {
    /// Take the input; output when it pays.
    Process,
    /// Take the input and give out all of it.
    Flush,
    /// Take the input and end the stream.
    Finish,
}

pub(super) struct Progress {
    pub(super) consumed: usize,
    pub(super) produced: usize,
    /// The step is complete: all input is taken, and given out as far as the step asks.
    pub(super) done: bool,
}

thread_local! {
    static SHELF: [Cell<Option<Compress>>; 2] = const { [Cell::new(None), Cell::new(None)] };
}

/// What one library knows of a body that it encodes.
pub(super) enum Engine {
    /// And its place among the levels.
    Gzip(Compress, usize),
    Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>),
    Zstd(CCtx<'static>),
}

impl Engine {
    pub(super) fn new(coding: Coding, effort: Effort) -> io::Result<Self> {
        let place = match effort {
            Effort::Fast => 0,
            Effort::Balanced => 1,
        };
        Ok(match coding {
            Coding::Gzip => {
                let stream = match SHELF.with(|shelf| shelf[place].take()) {
                    Some(mut kept) => {
                        kept.reset();
                        kept
                    }
                    None => Compress::new_gzip(Level::new(GZIP_LEVEL[place]), 15),
                };
                Self::Gzip(stream, place)
            }
            Coding::Brotli => {
                let mut state = Box::new(BrotliEncoderCreateInstance(StandardAlloc::default()));
                for (parameter, value) in [
                    (BrotliEncoderParameter::BROTLI_PARAM_QUALITY, BROTLI_QUALITY[place]),
                    (BrotliEncoderParameter::BROTLI_PARAM_LGWIN, WINDOW_LOG),
                ] {
                    BrotliEncoderSetParameter(&mut state, parameter, value);
                }
                Self::Brotli(state)
            }
            Coding::Zstd => {
                let mut context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
                for parameter in [
                    CParameter::CompressionLevel(ZSTD_LEVEL[place]),
                    CParameter::WindowLog(WINDOW_LOG),
                ] {
                    context.set_parameter(parameter).map_err(zstd_error)?;
                }
                Self::Zstd(context)
            }
        })
    }

    /// Its body is complete: what can be used again is kept.
    pub(super) fn end(self) {
        if let Self::Gzip(stream, place) = self {
            SHELF.with(|shelf| shelf[place].set(Some(stream)));
        }
    }

    /// Takes some of `input` and writes into `output`.
    pub(super) fn advance(&mut self, input: &[u8], output: &mut [u8], step: Step) -> io::Result<Progress> {
        match self {
            Self::Gzip(stream, _) => advance_gzip(stream, input, output, step),
            Self::Brotli(state) => advance_brotli(state, input, output, step),
            Self::Zstd(context) => advance_zstd(context, input, output, step),
        }
    }
}

fn advance_gzip(stream: &mut Compress, input: &[u8], output: &mut [u8], step: Step) -> io::Result<Progress> {
    let (total_in, total_out) = (stream.total_in(), stream.total_out());
    let flush = match step {
        Step::Process => FlushCompress::None,
        Step::Flush => FlushCompress::Sync,
        Step::Finish => FlushCompress::Finish,
    };
    let room = output.len();
    let status = stream.compress(input, output, flush)?;
    // Both differences are bounded by the lengths of the slices.
    let consumed = usize::try_from(stream.total_in() - total_in).unwrap_or(usize::MAX);
    let produced = usize::try_from(stream.total_out() - total_out).unwrap_or(usize::MAX);
    let done = match step {
        Step::Finish => status == Status::StreamEnd,
        // Room left over: nothing waits to be written. A flush that is asked for twice makes no progress at all.
        Step::Process | Step::Flush => consumed == input.len() && (produced < room || status == Status::BufError),
    };
    Ok(Progress {
        consumed,
        produced,
        done,
    })
}

fn advance_brotli(
    state: &mut BrotliEncoderStateStruct<StandardAlloc>,
    input: &[u8],
    output: &mut [u8],
    step: Step,
) -> io::Result<Progress> {
    let operation = match step {
        Step::Process => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
        Step::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
        Step::Finish => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
    };
    let (mut available_in, mut consumed) = (input.len(), 0);
    let (mut available_out, mut produced) = (output.len(), 0);
    let outcome = BrotliEncoderCompressStream(
        state,
        operation,
        &mut available_in,
        input,
        &mut consumed,
        &mut available_out,
        output,
        &mut produced,
        &mut None,
        &mut |_, _, _, _| (),
    );
    if outcome <= 0 {
        return Err(io::Error::other("brotli could not encode"));
    }
    let done = match step {
        Step::Finish => BrotliEncoderIsFinished(state) != 0,
        Step::Process | Step::Flush => available_in == 0 && BrotliEncoderHasMoreOutput(state) == 0,
    };
    Ok(Progress {
        consumed,
        produced,
        done,
    })
}

fn advance_zstd(context: &mut CCtx<'static>, input: &[u8], output: &mut [u8], step: Step) -> io::Result<Progress> {
    let directive = match step {
        Step::Process => ZSTD_EndDirective::ZSTD_e_continue,
        Step::Flush => ZSTD_EndDirective::ZSTD_e_flush,
        Step::Finish => ZSTD_EndDirective::ZSTD_e_end,
    };
    let mut source = InBuffer::around(input);
    let mut sink = OutBuffer::around(output);
    let pending = context
        .compress_stream2(&mut sink, &mut source, directive)
        .map_err(zstd_error)?;
    let done = match step {
        Step::Process => source.pos() == input.len(),
        Step::Flush | Step::Finish => source.pos() == input.len() && pending == 0,
    };
    Ok(Progress {
        consumed: source.pos(),
        produced: sink.pos(),
        done,
    })
}

fn zstd_error(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}
