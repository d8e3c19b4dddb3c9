// The moment itself, where the video can be reached: a file of this machine, or an address that was signed for it.

const LEAD_S = 1; // a little before, so that the moment is seen to come

function playerSection(detail, moment) {
  if (!detail.video_url) return null;
  const said = node("p", { class: "muted", role: "status" });
  const video = node("video", {
    controls: true, preload: moment === null ? "none" : "auto", playsinline: true, "aria-label": "The video", src: detail.video_url,
    onerror: () => said.append("The video is not to be had any more: it was moved, the address has expired, or this browser does not play it."),
  });
  video.muted = true;
  if (moment !== null) {
    video.addEventListener("loadedmetadata", () => {
      video.currentTime = Math.max(0, moment - LEAD_S);
      video.play().catch(() => undefined); // a browser that waits for a click shows the first picture
    }, { once: true });
  }
  const note = moment === null ? "a time above or below plays it" : `from ${clock(moment)}`;
  return section("Play the moment", note, video, said);
}
