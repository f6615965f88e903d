//! Who is measured and what is done with it, apart from measuring and reporting: what every measured process needs.

pub mod glass;
pub mod load;
pub mod subjects;
pub mod times;
