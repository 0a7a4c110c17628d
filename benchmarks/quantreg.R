# Run one method of the R package quantreg on one problem and leave the result beside the data.
# Usage: Rscript quantreg.R METHOD FOLDER BUDGET      (or: Rscript quantreg.R versions)
# Timings are user + system seconds of the fits alone.
suppressMessages(library(quantreg))
arguments <- commandArgs(TRUE)
if (arguments[1] == "versions") {
  have <- c("br", "fnb", "pfn", "ppro", "pfnb")
  have <- have[sapply(paste0("rq.fit.", have), exists, where = asNamespace("quantreg"))]
  cat(sprintf("%s.%s %s %s\n", R.version$major, R.version$minor, packageVersion("quantreg"), paste(have, collapse = ",")))
  quit()
}
method <- arguments[1]; folder <- arguments[2]; budget <- as.numeric(arguments[3])
shape <- scan(file.path(folder, "shape.txt"), quiet = TRUE)
n <- shape[1]; p <- shape[2]
x <- matrix(readBin(file.path(folder, "design.bin"), "double", n * p), n, p, byrow = TRUE)
y <- readBin(file.path(folder, "response.bin"), "double", n)
taus <- readBin(file.path(folder, "taus.bin"), "double", 1e6)
order_spread <- readBin(file.path(folder, "order.bin"), "integer", 1e6) + 1L
set.seed(1)
used <- function(start) { now <- proc.time() - start; c(sum(now[1:2]), now[3]) }
single <- switch(method,
  br = function(tau) rq.fit.br(x, y, tau = tau)$coefficients,
  fn = function(tau) rq.fit.fnb(x, y, tau = tau)$coefficients,
  pfn = function(tau) rq.fit.pfn(x, y, tau = tau)$coefficients, NULL)
whole <- switch(method,
  ppro = function(tau) rq.fit.ppro(x, y, tau)$coefficients,
  pfnb = function(tau) rq.fit.pfnb(x, y, tau)$coefficients, NULL)
m <- length(taus)
name <- file.path(folder, paste0("quantreg_", method))
save_run <- function(done, b, times) {   # times: CPU and wall-clock seconds for all taus, one column per repeat
  status <- grep("VmHWM", readLines("/proc/self/status"), value = TRUE)
  writeBin(as.double(b), paste0(name, ".coef"))
  writeLines(sprintf(paste0(
    '{"done": [%s], "seconds": %.6f, "wall": %.6f, "fastest": %.6f, "slowest": %.6f, "peak_mb": %.1f, ',
    '"data_mb": 0, "notes": {}}'),
    paste(done - 1L, collapse = ","), median(times[1, ]), median(times[2, ]), min(times[1, ]), max(times[1, ]),
    as.numeric(gsub("[^0-9]", "", status)) / 1024), paste0(name, ".json"))
}
invisible(gc())
options(warn = -1)
if (!is.null(single)) {
  done <- integer(0); b <- NULL; start <- proc.time()
  for (k in order_spread) {
    b <- cbind(b, single(taus[k])); done <- c(done, k)
    if (used(start)[1] > budget) break
  }
  save_run(done, b, matrix(used(start) * m / length(done), 2, 1))
} else {
  # First a few taus, then all but the extreme ones, then all: what is saved last counts, even if the next stage
  # never ends (pfnb of quantreg 5.94 loops for ever on some extreme quantiles of tied responses).
  for (done in list((m %/% 2 - 1):(m %/% 2 + 3), 6:(m - 5), 1:m)) {
    times <- NULL
    repeat {
      start <- proc.time(); b <- whole(taus[done]); times <- cbind(times, used(start) * m / length(done))
      if (length(done) < m || ncol(times) >= 7 || sum(times[1, ]) + times[1, 1] > budget) break
    }
    save_run(done, b, times)
    if (times[1, 1] > 5 * budget) break
  }
}
