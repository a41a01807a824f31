//! From an R value to JSON. Everything here may jump, so it runs inside [`crate::eval::protected`]; the text it writes
//! belongs to the caller's caller, and no frame here owns anything while R is called.

use std::ffi::CStr;

use super::text;
use crate::ffi::{CE_UTF8, Sexp, f, sexptype, v};

/// Lists nested deeper than this are refused: a list may be as deep as memory, the C stack is not.
const MAX_DEPTH: usize = 200;

/// Bytes that a number, a date or a bracket with what belongs to it never exceeds.
const ROOM: usize = 128;

/// Why a value has no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooLong,
    TooDeep,
    NoMemory,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Always an array, also with one element.
    Boxed,
    /// One element alone; none at all is null.
    Unboxed,
    /// A flat array, whatever its dimensions.
    Flat,
}

/// Where the JSON goes, and what is to be said about it.
pub(crate) struct Writer<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    /// `out` may not grow beyond this.
    pub(crate) limit: usize,
    /// How the elements of lists are written.
    pub(crate) nested: Form,
    /// What kind of value was replaced by null, when one was.
    pub(crate) dropped: Option<&'static str>,
}

impl Writer<'_> {
    /// Writes any value.
    ///
    /// # Safety
    ///
    /// Runs inside a protected call, and `value` is protected from the collector.
    pub(crate) unsafe fn value(
        &mut self,
        value: Sexp,
        form: Form,
        depth: usize,
    ) -> Result<(), Refusal> {
        if depth > MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        self.room(ROOM)?;
        // SAFETY: the caller is protected against jumps, `value` and all it holds are reachable
        // from the protected root, and nothing alive in these frames has a destructor. So for all blocks of this file.
        unsafe {
            match (f().TYPEOF)(value).cast_unsigned() {
                sexptype::NIL => self.push(b"null"),
                sexptype::LIST => return self.list(value, depth),
                sexptype::PAIRLIST => {
                    let list = (f().Rf_protect)((f().Rf_PairToVectorList)(value));
                    let written = self.list(list, depth);
                    (f().Rf_unprotect)(1);
                    return written;
                }
                sexptype::LOGICAL
                | sexptype::INTEGER
                | sexptype::REAL
                | sexptype::COMPLEX
                | sexptype::STRING => return self.atomic(value, form),
                sexptype::RAW => return self.raw(value, form),
                3 | 7 | 8 => self.nothing("a function"),
                4 => self.nothing("an environment"),
                25 => self.nothing("an S4 object"),
                1 | 6 | 20 => self.nothing("unevaluated code"),
                _ => self.nothing("an object"),
            }
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn nothing(&mut self, what: &'static str) {
        self.dropped = Some(what);
        self.push(b"null");
    }

    /// Makes sure that there is room for so many bytes: a vector that cannot grow would end the process.
    fn room(&mut self, bytes: usize) -> Result<(), Refusal> {
        if self.out.len() > self.limit {
            return Err(Refusal::TooLong);
        }
        self.out.try_reserve(bytes).map_err(|_| Refusal::NoMemory)
    }

    unsafe fn element(&mut self, kind: &Kind, at: usize) -> Result<(), Refusal> {
        // SAFETY: as in `value`.
        unsafe {
            self.room(kind.bytes(at))?;
            kind.write(at, self.out);
        }
        Ok(())
    }

    unsafe fn atomic(&mut self, value: Sexp, form: Form) -> Result<(), Refusal> {
        // SAFETY: as in `value`.
        unsafe {
            let kind = Kind::of(value);
            let length = (f().Rf_xlength)(value).cast_unsigned();
            let dim = (f().Rf_getAttrib)(value, *v().R_DimSymbol);
            let rank =
                if form == Form::Flat || (f().TYPEOF)(dim).cast_unsigned() != sexptype::INTEGER {
                    0
                } else {
                    (f().Rf_xlength)(dim).cast_unsigned()
                };
            if rank >= 2 {
                // `dim` is an attribute of a protected object, and its data does not move.
                let dim = std::slice::from_raw_parts((f().INTEGER)(dim), rank);
                return self.array(&kind, dim, 0, 0, 1);
            }
            match (form, length) {
                (Form::Unboxed, 0) => self.push(b"null"),
                (Form::Unboxed, 1) => self.element(&kind, 0)?,
                _ => {
                    self.push(b"[");
                    for at in 0..length {
                        if at > 0 {
                            self.push(b",");
                        }
                        self.element(&kind, at)?;
                    }
                    self.push(b"]");
                }
            }
        }
        Ok(())
    }

    /// Dimension `level` of an array: R stores the first dimension closest, JSON nests it outermost.
    unsafe fn array(
        &mut self,
        kind: &Kind,
        dim: &[i32],
        level: usize,
        offset: usize,
        stride: usize,
    ) -> Result<(), Refusal> {
        let extent = usize::try_from(dim[level]).unwrap_or(0);
        self.push(b"[");
        for at in 0..extent {
            if at > 0 {
                self.push(b",");
            }
            let here = offset + at * stride;
            // SAFETY: as in `value`; the product of the dimensions is the length.
            unsafe {
                if level + 1 == dim.len() {
                    self.element(kind, here)?;
                } else {
                    self.array(kind, dim, level + 1, here, stride * extent)?;
                }
            }
        }
        self.push(b"]");
        Ok(())
    }

    unsafe fn raw(&mut self, value: Sexp, form: Form) -> Result<(), Refusal> {
        // SAFETY: as in `value`; the bytes are read before R is called again.
        unsafe {
            let length = (f().Rf_xlength)(value).cast_unsigned();
            let bytes = (f().RAW)(value);
            self.room(length / 3 * 4 + ROOM)?;
            if form != Form::Unboxed {
                self.push(b"[");
            }
            self.push(b"\"");
            if length > 0 {
                text::base64(std::slice::from_raw_parts(bytes, length), self.out);
            }
            self.push(b"\"");
            if form != Form::Unboxed {
                self.push(b"]");
            }
        }
        Ok(())
    }

    unsafe fn list(&mut self, value: Sexp, depth: usize) -> Result<(), Refusal> {
        // SAFETY: as in `value`.
        unsafe {
            if (f().Rf_inherits)(value, c"POSIXlt".as_ptr()) != 0 {
                return self.calendar_time(value, depth);
            }
            let frame = (f().Rf_inherits)(value, c"data.frame".as_ptr()) != 0;
            let form = if frame { Form::Boxed } else { self.nested };
            let length = (f().Rf_xlength)(value).cast_unsigned();
            let names = (f().Rf_getAttrib)(value, *v().R_NamesSymbol);
            let as_object = frame || (f().TYPEOF)(names).cast_unsigned() == sexptype::STRING;
            self.push(if as_object { b"{" } else { b"[" });
            for at in 0..length {
                if at > 0 {
                    self.push(b",");
                }
                self.room(ROOM)?;
                if as_object {
                    self.name(names, at);
                    self.push(b":");
                }
                self.value((f().VECTOR_ELT)(value, at.cast_signed()), form, depth + 1)?;
            }
            self.push(if as_object { b"}" } else { b"]" });
        }
        Ok(())
    }

    /// The member's name; its position when it has none, and a suffix when an earlier member took it.
    unsafe fn name(&mut self, names: Sexp, at: usize) {
        // SAFETY: as in `value`.
        unsafe {
            // A data frame that was put together by hand may have none.
            let name = if (f().TYPEOF)(names).cast_unsigned() == sexptype::STRING {
                (f().STRING_ELT)(names, at.cast_signed())
            } else {
                *v().R_NaString
            };
            let empty = name == *v().R_NaString || *(f().R_CHAR)(name) == 0;
            let mut earlier = 0_usize;
            // Names are unique pointers in R's string cache. Long lists of names are not searched: a clash is legal JSON.
            if !empty && at < 1_000 {
                for other in 0..at {
                    earlier += usize::from((f().STRING_ELT)(names, other.cast_signed()) == name);
                }
            }
            if empty {
                text::quoted_number(at + 1, self.out);
            } else {
                write_char(name, self.out);
            }
            if earlier > 0 {
                text::add_suffix(earlier, self.out);
            }
        }
    }

    unsafe fn calendar_time(&mut self, value: Sexp, depth: usize) -> Result<(), Refusal> {
        // SAFETY: as in `value`; the call and its result are protected while they are used.
        unsafe {
            let call = (f().Rf_protect)((f().Rf_lang2)(
                (f().Rf_install)(c"as.POSIXct".as_ptr()),
                value,
            ));
            let time = (f().Rf_protect)((f().Rf_eval)(call, *v().R_BaseEnv));
            let written = self.value(time, self.nested, depth + 1);
            (f().Rf_unprotect)(2);
            written
        }
    }
}

/// What an atomic vector holds, with its data where it can be read without R.
#[derive(Clone, Copy)]
enum Kind {
    Logical(*const i32),
    Integer(*const i32),
    Double(*const f64),
    Integer64(*const f64),
    Date(*const f64),
    DateInteger(*const i32),
    Time(*const f64),
    TimeInteger(*const i32),
    Complex(*const crate::ffi::Complex),
    Strings(Sexp),
    /// Codes, labels and how many labels there are.
    Factor(*const i32, Sexp, isize),
}

impl Kind {
    unsafe fn of(value: Sexp) -> Self {
        // SAFETY: as in `Writer::value`: the data of a protected vector does not move.
        unsafe {
            let is = |class: &CStr| (f().Rf_inherits)(value, class.as_ptr()) != 0;
            match (f().TYPEOF)(value).cast_unsigned() {
                sexptype::LOGICAL => Self::Logical((f().LOGICAL)(value)),
                sexptype::INTEGER if is(c"factor") => {
                    let levels = (f().Rf_getAttrib)(value, *v().R_LevelsSymbol);
                    if (f().TYPEOF)(levels).cast_unsigned() == sexptype::STRING {
                        Self::Factor((f().INTEGER)(value), levels, (f().Rf_xlength)(levels))
                    } else {
                        Self::Integer((f().INTEGER)(value))
                    }
                }
                sexptype::INTEGER if is(c"Date") => Self::DateInteger((f().INTEGER)(value)),
                sexptype::INTEGER if is(c"POSIXct") => Self::TimeInteger((f().INTEGER)(value)),
                sexptype::INTEGER => Self::Integer((f().INTEGER)(value)),
                sexptype::REAL if is(c"Date") => Self::Date((f().REAL)(value)),
                sexptype::REAL if is(c"POSIXct") => Self::Time((f().REAL)(value)),
                sexptype::REAL if is(c"integer64") => Self::Integer64((f().REAL)(value)),
                sexptype::REAL => Self::Double((f().REAL)(value)),
                sexptype::COMPLEX => Self::Complex((f().COMPLEX)(value)),
                _ => Self::Strings(value),
            }
        }
    }

    /// How long the text of an element usually is at most; only strings full of control characters are longer.
    unsafe fn bytes(&self, at: usize) -> usize {
        // SAFETY: as in `Writer::value`; callers stay below the vector's length.
        let text = unsafe {
            match *self {
                Self::Strings(value) => (f().Rf_xlength)((f().STRING_ELT)(value, at.cast_signed())),
                Self::Factor(codes, labels, count) => {
                    let code = *codes.add(at) as isize;
                    if (1..=count).contains(&code) {
                        (f().Rf_xlength)((f().STRING_ELT)(labels, code - 1))
                    } else {
                        0
                    }
                }
                _ => 0,
            }
        };
        text.cast_unsigned() * 2 + ROOM
    }

    unsafe fn write(&self, at: usize, out: &mut Vec<u8>) {
        // SAFETY: as in `Writer::value`; callers stay below the vector's length.
        unsafe {
            match *self {
                Self::Logical(data) => text::logical(*data.add(at), out),
                Self::Integer(data) => text::integer(*data.add(at), out),
                Self::Double(data) => text::double(*data.add(at), out),
                Self::Integer64(data) => text::integer64(*data.add(at), out),
                Self::Date(data) => text::date(*data.add(at), out),
                Self::DateInteger(data) => text::date(text::widen(*data.add(at)), out),
                Self::Time(data) => text::time(*data.add(at), out),
                Self::TimeInteger(data) => text::time(text::widen(*data.add(at)), out),
                Self::Complex(data) => text::complex((*data.add(at)).re, (*data.add(at)).im, out),
                Self::Strings(value) => {
                    write_char((f().STRING_ELT)(value, at.cast_signed()), out);
                }
                Self::Factor(codes, labels, count) => {
                    let code = *codes.add(at) as isize;
                    if (1..=count).contains(&code) {
                        write_char((f().STRING_ELT)(labels, code - 1), out);
                    } else {
                        out.extend_from_slice(b"null");
                    }
                }
            }
        }
    }
}

/// One `CHARSXP` as a JSON string; what is not UTF-8 after R's own translation is replaced.
unsafe fn write_char(value: Sexp, out: &mut Vec<u8>) {
    // SAFETY: as in `Writer::value`. Translation allocates on R's transient stack, which is given back at once; the C
    // string is read before R is called again.
    unsafe {
        if value == *v().R_NaString {
            out.extend_from_slice(b"null");
            return;
        }
        let raw = CStr::from_ptr((f().R_CHAR)(value));
        if let Ok(plain) = raw.to_str()
            && (raw.to_bytes().is_ascii() || (f().Rf_getCharCE)(value) == CE_UTF8)
        {
            text::string(plain, out);
            return;
        }
        // CE_BYTES (3) and CE_SYMBOL (5) have no translation.
        if matches!((f().Rf_getCharCE)(value), 3 | 5) {
            text::lossy(raw.to_bytes(), out);
            return;
        }
        let mark = (f().vmaxget)();
        let translated = CStr::from_ptr((f().Rf_translateCharUTF8)(value));
        text::lossy(translated.to_bytes(), out);
        (f().vmaxset)(mark);
    }
}
