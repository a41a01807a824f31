//! From a plan to an R value. Everything here may jump, so it runs inside [`crate::eval::protected`] and owns nothing.

use std::borrow::Cow;
use std::ffi::{c_int, c_uint};

use super::plan::Plan;
use crate::ffi::{self, Sexp, f, sexptype, v};

/// Makes the value.
///
/// # Safety
///
/// Runs inside a protected call: R may jump. The plan must outlive that call.
pub(crate) unsafe fn build(plan: &Plan<'_>) -> Sexp {
    // SAFETY: the caller is protected against jumps; every fresh object is protected from the
    // collector before the next allocation; nothing in these frames has a destructor. So for all blocks of this file.
    unsafe {
        match plan {
            Plan::Null => *v().R_NilValue,
            Plan::Logical(values) => numbers(sexptype::LOGICAL, values.len(), |to| {
                (f().LOGICAL)(to).copy_from(values.as_ptr(), values.len());
            }),
            Plan::Integer(values) => numbers(sexptype::INTEGER, values.len(), |to| {
                (f().INTEGER)(to).copy_from(values.as_ptr(), values.len());
            }),
            Plan::Double(values) => numbers(sexptype::REAL, values.len(), |to| {
                (f().REAL)(to).copy_from(values.as_ptr(), values.len());
            }),
            Plan::Character(values) => strings(values.len(), |at| values[at].as_deref()),
            Plan::List { items, names } => list(items, names.as_deref()),
            Plan::Matrix {
                data,
                rows,
                columns,
            } => matrix(data, *rows, *columns),
            Plan::Frame { columns, rows } => frame(columns, *rows),
        }
    }
}

unsafe fn numbers(kind: c_uint, length: usize, fill: impl FnOnce(Sexp)) -> Sexp {
    // SAFETY: as in `build`; `fill` does not allocate.
    unsafe {
        let to = (f().Rf_allocVector)(kind, length.cast_signed());
        fill(to);
        to
    }
}

unsafe fn strings<'a>(length: usize, item: impl Fn(usize) -> Option<&'a str>) -> Sexp {
    // SAFETY: as in `build`.
    unsafe {
        let to = (f().Rf_protect)((f().Rf_allocVector)(sexptype::STRING, length.cast_signed()));
        for at in 0..length {
            let text = item(at).map_or(*v().R_NaString, |text| char(text));
            (f().SET_STRING_ELT)(to, at.cast_signed(), text);
        }
        (f().Rf_unprotect)(1);
        to
    }
}

/// A `CHARSXP` in UTF-8. A NUL in it is an R error. R's strings end at 2^31 bytes, which is more than the worker's frames hold.
pub(crate) unsafe fn char(text: &str) -> Sexp {
    // SAFETY: as in `build`.
    unsafe {
        let length = c_int::try_from(text.len()).unwrap_or(0);
        (f().Rf_mkCharLenCE)(text.as_ptr().cast(), length, ffi::CE_UTF8)
    }
}

unsafe fn list(items: &[Plan<'_>], names: Option<&[Cow<'_, str>]>) -> Sexp {
    // SAFETY: as in `build`.
    unsafe {
        let to = (f().Rf_protect)((f().Rf_allocVector)(
            sexptype::LIST,
            items.len().cast_signed(),
        ));
        for (at, item) in items.iter().enumerate() {
            let value = build(item);
            (f().SET_VECTOR_ELT)(to, at.cast_signed(), value);
        }
        if let Some(names) = names {
            set_names(to, names.len(), |at| &names[at]);
        }
        (f().Rf_unprotect)(1);
        to
    }
}

unsafe fn set_names<'a>(to: Sexp, length: usize, name: impl Fn(usize) -> &'a str) {
    // SAFETY: as in `build`; `to` is protected by the caller.
    unsafe {
        let names = (f().Rf_protect)(strings(length, |at| Some(name(at))));
        (f().Rf_setAttrib)(to, *v().R_NamesSymbol, names);
        (f().Rf_unprotect)(1);
    }
}

unsafe fn matrix(data: &Plan<'_>, rows: usize, columns: usize) -> Sexp {
    // SAFETY: as in `build`.
    unsafe {
        let to = (f().Rf_protect)(build(data));
        let dim = (f().Rf_protect)((f().Rf_allocVector)(sexptype::INTEGER, 2));
        let at = (f().INTEGER)(dim);
        at.write(c_int::try_from(rows).unwrap_or(c_int::MAX));
        at.add(1)
            .write(c_int::try_from(columns).unwrap_or(c_int::MAX));
        (f().Rf_setAttrib)(to, *v().R_DimSymbol, dim);
        (f().Rf_unprotect)(2);
        to
    }
}

unsafe fn frame(columns: &[(Cow<'_, str>, Plan<'_>)], rows: usize) -> Sexp {
    // SAFETY: as in `build`.
    unsafe {
        let to = (f().Rf_protect)((f().Rf_allocVector)(
            sexptype::LIST,
            columns.len().cast_signed(),
        ));
        for (at, (_, column)) in columns.iter().enumerate() {
            let value = build(column);
            (f().SET_VECTOR_ELT)(to, at.cast_signed(), value);
        }
        set_names(to, columns.len(), |at| &columns[at].0);
        // R's compact form of the row names 1…n.
        let row_names = (f().Rf_protect)((f().Rf_allocVector)(sexptype::INTEGER, 2));
        let at = (f().INTEGER)(row_names);
        at.write(super::plan::NA_INT);
        at.add(1)
            .write(-c_int::try_from(rows).unwrap_or(c_int::MAX));
        (f().Rf_setAttrib)(to, *v().R_RowNamesSymbol, row_names);
        let class = (f().Rf_protect)(strings(1, |_| Some("data.frame")));
        (f().Rf_setAttrib)(to, *v().R_ClassSymbol, class);
        (f().Rf_unprotect)(3);
        to
    }
}
