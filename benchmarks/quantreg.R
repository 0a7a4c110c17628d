# Run one method of the R package quantreg on one problem and leave the result beside the data.
# Usage: Rscript quantreg.R METHOD FOLDER BUDGET SEED      (or: Rscript quantreg.R versions)
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
set.seed(as.integer(arguments[4]))
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
save_run <- function(done, b, times, ahead = 0) {
  # times: CPU and wall-clock seconds for all taus, one column per repeat; ahead: seconds that the next call may take
  status <- grep("VmHWM", readLines("/proc/self/status"), value = TRUE)
  writeBin(as.double(b), paste0(name, ".coef"))
  writeLines(sprintf(paste0(
    '{"done": [%s], "seconds": %.6f, "wall": %.6f, "fastest": %.6f, "slowest": %.6f, "repeats": %d, "peak_mb": %.1f, ',
    '"data_mb": 0, "ahead": %.6f, "notes": {}}'),
    paste(done - 1L, collapse = ","), median(times[1, ]), median(times[2, ]), min(times[1, ]), max(times[1, ]),
    ncol(times), as.numeric(gsub("[^0-9]", "", status)) / 1024, ahead), paste0(name, ".json.new"))
  invisible(file.rename(paste0(name, ".json.new"), paste0(name, ".json")))
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
  # From few taus to all: what is saved last counts, even if the next call never ends (pfnb of quantreg 5.94 loops
  # for ever on some quantiles, on others with another seed, or breaks its heap). Taus not done are taken to cost
  # what the last ones added cost, so that the start counts once; the first two alone therefore give no time.
  middle <- m %/% 2 + 1
  earlier <- NULL
  for (done in list(middle:(middle + 1), (middle - 2):(middle + 2), 41:(m - 40), 21:(m - 20), 6:(m - 5), 1:m)) {
    count <- length(done)
    times <- NULL
    repeat {
      start <- proc.time(); b <- whole(taus[done]); times <- cbind(times, used(start))
      typical <- apply(times, 1, median)
      if (is.null(earlier)) { save_run(NULL, NULL, times, 5 * typical[2]); break }
      rate <- pmax(typical - earlier$times, 0) / (count - earlier$count)
      all_taus <- times + (m - count) * rate
      save_run(done, b, all_taus, median(all_taus[2, ]))
      repeats <- ncol(times)
      if (count < m || repeats >= 7) break
      if ((repeats >= 3 || times[1, 1] > budget) && sum(times[1, ]) + times[1, 1] > budget) break
    }
    if (count >= 20 && median(all_taus[1, ]) > 5 * budget) break
    earlier <- list(count = count, times = typical)
  }
}
