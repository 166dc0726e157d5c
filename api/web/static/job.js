// The page of a job and of a comparison.

import "./copy.js";
import "./lightbox.js";
import "./progress.js";
import "./results.js";
